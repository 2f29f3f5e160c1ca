"""A version loaded for inference."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.errors import KmnistError
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.warmup import write_warmup
from kmnist.server import Server
from kmnist.server.errors import StatusError
from kmnist.server.model import LoadedModel
from tests.server.calls import IMAGES

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def servable(saved: Path) -> Iterator[LoadedModel]:
    """The loaded digit model."""
    servable = LoadedModel(saved / "1")
    yield servable
    servable.close()


def test_an_empty_name_is_the_default_signature(servable: LoadedModel) -> None:
    assert servable.version == 1
    assert servable.signature("").name == "serving_default"
    outputs = servable.signature("")({"images": IMAGES})
    assert outputs["class_ids"].tolist() == [1]
    assert outputs["class_names"].tolist() == [b"1"]
    assert outputs["probabilities"].shape == (1, 10)


def test_strings_are_object_arrays_of_bytes(servable: LoadedModel) -> None:
    pixels = servable.signature("pixels")
    assert pixels.inputs == {"pixels": np.dtype(object)}
    assert pixels({"pixels": np.array([bytes(784)], object)})["class_ids"].tolist() == [1]


def test_signatures_describe_inputs_and_outputs(servable: LoadedModel) -> None:
    assert set(servable.signatures) == {"serving_default", "pixels"}
    signature = servable.signatures["serving_default"]
    assert str(signature.inputs["images"]) == "uint8 (n, 28, 28)"
    assert str(signature.outputs["class_names"]) == "string (n,)"
    definitions = pb.SignatureDefMap.FromString(servable.metadata).signature_def
    assert "__saved_model_init_op" in definitions


@pytest.mark.parametrize(
    ("signature", "inputs", "code", "message"),
    [
        ("x", {"images": IMAGES}, Code.FAILED_PRECONDITION, 'Serving signature key "x" not found.'),
        ("", {}, Code.INVALID_ARGUMENT, "Missing but required: {images}"),
        ("", {"images": IMAGES, "x": IMAGES}, Code.INVALID_ARGUMENT, "Sent extra: {x}"),
        (
            "",
            {"images": IMAGES.astype(np.float32)},
            Code.INVALID_ARGUMENT,
            "input 'images' expects uint8 but float32 is provided",
        ),
        ("", {"images": IMAGES[:, :7]}, Code.INVALID_ARGUMENT, ""),
    ],
)
def test_a_wrong_request_is_refused(
    servable: LoadedModel,
    signature: str,
    inputs: dict[str, NDArray[Any]],
    code: grpc.StatusCode,
    message: str,
) -> None:
    with pytest.raises(StatusError) as caught:
        servable.signature(signature)(inputs)
    assert caught.value.code is code
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("saved_model.pb", "SavedModel file does not exist"),
        ("variables/variables.index", "not a valid checkpoint"),
        ("variables/variables.data-00000-of-00001", "No such file"),
    ],
)
def test_a_version_that_cannot_be_loaded_is_a_serving_error(
    base: Path, file: str, message: str
) -> None:
    (base / "1" / file).unlink()
    with pytest.raises(StatusError, match=message):
        LoadedModel(base / "1")


def write_records(folder: Path, *records: bytes) -> None:
    """Write a warm-up file of arbitrary records."""
    (folder / "assets.extra").mkdir()
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def test_the_requests_of_the_warm_up_file_are_run(base: Path) -> None:
    write_warmup(base / "1", "kmnist", {"serving_default": {"images": IMAGES}})
    LoadedModel(base / "1").close()


@pytest.mark.parametrize(
    ("record", "message"),
    [(b"\xff\xff", "Error parsing message"), (b"", "a record is empty")],
)
def test_an_invalid_warm_up_record_fails_the_load(base: Path, record: bytes, message: str) -> None:
    write_records(base / "1", record)
    with pytest.raises(StatusError, match=f"the warm-up failed: {message}"):
        LoadedModel(base / "1")
    LoadedModel(base / "1", warm_up=False).close()


def test_a_warm_up_request_that_the_model_refuses_fails_the_load(base: Path) -> None:
    write_warmup(base / "1", "kmnist", {"serving_default": {"wrong": IMAGES}})
    with (
        pytest.raises(KmnistError, match=r"no version in .* can be loaded: version 1: the warm-up"),
        Server(base, rest_port=0, grpc_port=0),
    ):
        pass


def test_records_of_other_apis_are_skipped(base: Path) -> None:
    classify_log = b"\x3a\x00"  # field 7 of PredictionLog, which is not defined here
    write_records(base / "1", classify_log)
    LoadedModel(base / "1").close()


def test_a_folder_with_leading_zeros_is_a_version(base: Path) -> None:
    shutil.copytree(base / "1", base / "007")
    servable = LoadedModel(base / "007", warm_up=False)
    assert servable.version == 7
    servable.close()


def test_a_version_whose_weights_were_swapped_is_refused(swapped: Path) -> None:
    weights = swapped / "1" / "variables" / "variables.data-00000-of-00001"
    with pytest.raises(StatusError, match=f"{weights} has the SHA-256") as caught:
        LoadedModel(swapped / "1")
    assert caught.value.code == grpc.StatusCode.DATA_LOSS
    # Without the manifest nothing is wrong with it.
    LoadedModel(swapped / "1", verify=False).close()
