"""The warm-up file of a version: requests that a server answers before it says AVAILABLE.

TensorFlow Serving reads ``assets.extra/tf_serving_warmup_requests``, a TFRecord file of
PredictionLog messages; a record that it cannot answer makes the load of the version fail.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from kmnist.protocol.serving_pb2 import PredictionLog
from kmnist.protocol.tensors import TensorError, from_array, to_array

__all__ = ["read_warmup", "write_warmup"]

_PATH = "assets.extra/tf_serving_warmup_requests"


def write_warmup(
    folder: str | os.PathLike[str],
    model_name: str,
    requests: Mapping[str, Mapping[str, NDArray[Any]]],
) -> None:
    """Writes one record for each signature's inputs, arrays by name, into a version folder."""
    path = Path(folder) / _PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for signature, inputs in requests.items():
            log = PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, values in inputs.items():
                request.inputs[name].CopyFrom(from_array(values))
            writer.write(log.SerializeToString())


def read_warmup(
    folder: str | os.PathLike[str],
) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """The signature and the inputs of each record of a version folder; none without a file.

    Records of calls other than predict, which other people's models may have, are passed over.
    """
    path = Path(folder) / _PATH
    if not path.exists():
        return
    for record in tf.data.TFRecordDataset(os.fspath(path)).as_numpy_iterator():
        if not record:
            raise TensorError("a record is empty")
        log = PredictionLog.FromString(record)
        if not log.HasField("predict_log"):
            continue
        request = log.predict_log.request
        inputs = {name: to_array(tensor) for name, tensor in request.inputs.items()}
        yield request.model_spec.signature_name, inputs
