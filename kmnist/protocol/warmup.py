"""The warm-up file of a version: requests that a server runs before the version is AVAILABLE.

TensorFlow Serving reads ``assets.extra/tf_serving_warmup_requests``, a TFRecord file of
PredictionLog messages. A record that fails makes the load of the version fail.

Source: https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from kmnist.protocol.messages import ModelSpec
from kmnist.protocol.prediction import message
from kmnist.protocol.serving_pb2 import PredictionLog, PredictLog
from kmnist.protocol.tensors import TensorError, to_array

__all__ = ["read_warmup", "write_warmup"]

_PATH: Final = "assets.extra/tf_serving_warmup_requests"


def write_warmup(
    folder: str | os.PathLike[str],
    model_name: str,
    requests: Mapping[str, Mapping[str, NDArray[Any]]],
) -> None:
    """Write the warm-up file of a version, one record per signature.

    Args:
        folder: The version folder.
        model_name: The name of the model in the requests.
        requests: The inputs, arrays by name, of each signature.

    Raises:
        TensorError: An input has a dtype that TensorFlow Serving does not support.
    """
    import tensorflow as tf

    path = Path(folder) / _PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for signature, inputs in requests.items():
            request = message(ModelSpec(model_name), signature, inputs)
            log = PredictionLog(predict_log=PredictLog(request=request))
            writer.write(log.SerializeToString())


def read_warmup(folder: str | os.PathLike[str]) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """Read the warm-up file of a version.

    Records of other calls than predict, which models from elsewhere may contain, are skipped.

    Args:
        folder: The version folder.

    Yields:
        The signature and the inputs, arrays by name, of each record; nothing without a file.

    Raises:
        tf.errors.DataLossError: The file is truncated or corrupt.
        DecodeError: A record is not a PredictionLog.
        TensorError: An input cannot be read.
    """
    import tensorflow as tf

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
