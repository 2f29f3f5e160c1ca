"""A version loaded for inference: its warm-up and its manifest."""

import shutil
from pathlib import Path
from typing import Any

import grpc
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
