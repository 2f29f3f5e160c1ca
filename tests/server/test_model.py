"""A version loaded for inference."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import ModelSpec
from kmnist.protocol.prediction import message
from kmnist.server.errors import StatusError
from kmnist.server.model import LoadedModel
from kmnist.versions import write_manifest
from tests.server.calls import IMAGES
from tests.server.served_models import save_digits

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def model(saved: Path) -> Iterator[LoadedModel]:
    """The loaded digit model."""
    model = LoadedModel(saved / "1")
    yield model
    model.close()


def test_an_empty_name_is_the_default_signature(model: LoadedModel) -> None:
    assert model.version == 1
    assert model.signature("").name == "serving_default"
    outputs = model.signature("")({"images": IMAGES})
    assert outputs["class_ids"].tolist() == [1]
    assert outputs["class_names"].tolist() == [b"1"]
    assert outputs["probabilities"].shape == (1, 10)


def test_strings_are_object_arrays_of_bytes(model: LoadedModel) -> None:
    pixels = model.signature("pixels")
    assert pixels.inputs == {"pixels": np.dtype(object)}
    assert pixels({"pixels": np.array([bytes(784)], object)})["class_ids"].tolist() == [1]


def test_signatures_describe_inputs_and_outputs(model: LoadedModel) -> None:
    assert set(model.signatures) == {"serving_default", "pixels"}
    signature = model.signatures["serving_default"]
    assert str(signature.inputs["images"]) == "uint8 (n, 28, 28)"
    assert str(signature.outputs["class_names"]) == "string (n,)"
    definitions = pb.SignatureDefMap.FromString(model.metadata).signature_def
    assert "__saved_model_init_op" in definitions


@pytest.mark.parametrize(
    ("signature", "inputs", "code", "message"),
    [
        ("x", {"images": IMAGES}, Code.FAILED_PRECONDITION, 'Serving signature key "x" not found.'),
        ("", {"x": IMAGES}, Code.INVALID_ARGUMENT, "1!=1, received x, expected images"),
        ("", {"images": IMAGES / 255}, Code.INVALID_ARGUMENT, "actual double vs. expect uint8"),
        ("", {"images": IMAGES[:, :7]}, Code.INVALID_ARGUMENT, "[1,7,28]"),
    ],
)
def test_a_wrong_request_is_refused(
    model: LoadedModel, signature: str, inputs: dict[str, Any], code: grpc.StatusCode, message: str
) -> None:
    with pytest.raises(StatusError, match=re.escape(message)) as caught:
        model.signature(signature)(inputs)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("saved_model.pb", "SavedModel file does not exist"),
        ("variables/variables.index", "not a valid checkpoint"),
        ("variables/variables.data-00000-of-00001", "No such file"),
    ],
)
def test_a_version_without_a_file_cannot_be_loaded(base: Path, file: str, message: str) -> None:
    (base / "1" / file).unlink()
    with pytest.raises(StatusError, match=message):
        LoadedModel(base / "1")


def warmup_record(**inputs: NDArray[Any]) -> bytes:
    """Return a record with a request of the default signature."""
    request = message(ModelSpec("kmnist"), "", inputs)
    return pb.PredictionLog(predict_log=pb.PredictLog(request=request)).SerializeToString()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"\xff\xff", "Error parsing message"),
        (b"", "a record is empty"),
        (warmup_record(pixels=IMAGES), "input size does not match"),
    ],
    ids=["garbage", "empty", "wrong request"],
)
def test_a_warm_up_that_fails_fails_the_load(base: Path, record: bytes, reason: str) -> None:
    (base / "1" / "assets.extra").mkdir()
    file = base / "1" / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(warmup_record(images=IMAGES))
        writer.write(record)
    with pytest.raises(StatusError, match=f"the warm-up failed: {reason}"):
        LoadedModel(base / "1")
    LoadedModel(base / "1", warm_up=False).close()


def test_a_version_whose_weights_were_swapped_is_refused(base: Path) -> None:
    write_manifest(base / "1")
    weights = base / "1" / "variables"
    shutil.copytree(save_digits(base, 3) / "variables", weights, dirs_exist_ok=True)
    with pytest.raises(StatusError, match=f"{weights}/.* SHA256SUMS") as caught:
        LoadedModel(base / "1")
    assert caught.value.code == grpc.StatusCode.DATA_LOSS
    LoadedModel(base / "1", verify=False).close()
