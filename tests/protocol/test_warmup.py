"""The warm-up file of a version."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.warmup import read_warmup, write_warmup

tf = pytest.importorskip("tensorflow", reason="reads and writes TFRecord files")

FILE = "assets.extra/tf_serving_warmup_requests"
IMAGES: NDArray[Any] = np.arange(2 * 28 * 28).reshape(2, 28, 28).astype(np.uint8)
PICTURES: NDArray[Any] = np.array([b"GIF89a", b""], dtype=object)


def records(folder: Path) -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(folder / FILE)).as_numpy_iterator())


def test_records_of_other_calls_are_skipped(tmp_path: Path) -> None:
    write_warmup(tmp_path, "kmnist", {"serving_default": {"images": IMAGES}})
    (predict,) = records(tmp_path)
    spec = pb.PredictionLog.FromString(predict).predict_log.request.model_spec
    assert (spec.name, spec.signature_name) == ("kmnist", "serving_default")
    with tf.io.TFRecordWriter(str(tmp_path / FILE)) as writer:
        writer.write(b"\x0a\x00")  # an empty ClassifyLog
        writer.write(predict)
    assert [signature for signature, _ in read_warmup(tmp_path)] == ["serving_default"]


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    write_warmup(tmp_path, "kmnist", {"serving_default": {"images": IMAGES}})
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[:-5])
    with pytest.raises(tf.errors.DataLossError):
        list(read_warmup(tmp_path))


def test_importing_the_protocol_loads_neither_grpc_nor_tensorflow() -> None:
    code = (
        "import importlib, pkgutil, sys, kmnist.protocol as package\n"
        "for module in pkgutil.iter_modules(package.__path__, 'kmnist.protocol.'):\n"
        "    importlib.import_module(module.name)\n"
        "print([name for name in ('grpc', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
