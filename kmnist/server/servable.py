"""A SavedModel loaded to be served.

It runs in a TensorFlow session, as in TensorFlow Serving, rather than through
``tf.saved_model.load``: the same models load, the same shapes are accepted and the same errors
come back; and a small request costs a tenth, because no eager tensors are made.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.warmup import read_warmup
from kmnist.server.serving_error import ServingError, from_tensorflow, invalid

__all__ = ["Servable", "Signature"]

_RUN_IN_CALLING_THREAD = -1


@dataclass(frozen=True)
class Signature:
    """A function of the model: its inputs with their dtypes (object: strings), and its outputs."""

    name: str
    inputs: Mapping[str, np.dtype[Any]]
    outputs: tuple[str, ...]
    _run: Any

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs for ``inputs``, as the model computes them.

        Raises:
            ServingError: the names or dtypes are not the signature's, or the model refuses them.
        """
        if inputs.keys() != self.inputs.keys():
            raise invalid(_wrong_names(set(inputs), set(self.inputs)))
        for name, dtype in self.inputs.items():
            if inputs[name].dtype != dtype:
                raise invalid(
                    f"input {name!r} expects {_type_name(dtype)} but "
                    f"{_type_name(inputs[name].dtype)} is provided"
                )
        try:
            results = self._run(*(inputs[name] for name in self.inputs))
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from None
        except (TypeError, ValueError) as error:  # a string tensor that is not of bytes
            raise invalid(str(error)) from None
        return dict(zip(self.outputs, results, strict=True))


class Servable:
    """One version, loaded and warmed up.

    Args:
        folder: The version's folder; its name is the version.

    Attributes:
        version: The version's number.
        metadata: The model's signatures as a serialised SignatureDefMap.

    Raises:
        ServingError: TensorFlow cannot load it, or a request of its warm-up file fails.
        OSError: a file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.version = int(folder.name)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=_session_config())
        try:
            with _quiet_tensorflow():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], os.fspath(folder)
                )
            definitions = meta_graph.signature_def
            self.metadata = _signature_map(definitions)
            self._signatures = {
                name: self._signature(name, definition)
                for name, definition in definitions.items()
                if _is_callable(definition)
            }
            # So that the first caller does not wait for what TensorFlow does but once.
            for name, inputs in read_warmup(folder):
                self.signature(name)(inputs)
        except tf.errors.OpError as error:
            self.close()
            raise from_tensorflow(error) from None
        except BaseException:
            self.close()
            raise

    def signature(self, name: str) -> Signature:
        """The signature ``name``, or the default one if it is empty.

        Raises:
            ServingError: there is none of that name.
        """
        name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        try:
            return self._signatures[name]
        except KeyError:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found.',
            ) from None

    def close(self) -> None:
        """Frees the model. Nothing may run in it any more."""
        self._session.close()

    def _signature(self, name: str, definition: Any) -> Signature:
        options = config_pb2.CallableOptions(
            feed=[info.name for info in definition.inputs.values()],
            fetch=[info.name for info in definition.outputs.values()],
        )
        inputs = {
            alias: np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype)
            for alias, info in definition.inputs.items()
        }
        # Handing a request to TensorFlow's thread pool costs more than softmax regression does.
        # Only strings bring work that is worth spreading: a thousand pictures to decode.
        if not any(dtype.kind == "O" for dtype in inputs.values()):
            options.run_options.inter_op_thread_pool = _RUN_IN_CALLING_THREAD
        # The public make_callable does the same at four times the price of a small request.
        run = self._session._make_callable_from_options(options)  # noqa: SLF001
        return Signature(name, inputs, tuple(definition.outputs), run)


def _session_config() -> Any:
    # By default TensorFlow takes all memory of a GPU, and the next version would find none.
    config = tf.compat.v1.ConfigProto(gpu_options=tf.compat.v1.GPUOptions(allow_growth=True))
    # And optimises a graph twice, which delays the first answer and quickens none.
    rewriting = config.graph_options.rewrite_options
    rewriting.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    return config


def _signature_map(definitions: Mapping[str, Any]) -> bytes:
    return pb.SignatureDefMap(
        signature_def={
            name: pb.SignatureDef.FromString(definition.SerializeToString())
            for name, definition in definitions.items()
        }
    ).SerializeToString(deterministic=True)


def _is_callable(definition: Any) -> bool:
    """Whether it maps dense tensors to dense tensors; the initialiser, for one, does not."""
    infos = [*definition.inputs.values(), *definition.outputs.values()]
    return bool(definition.outputs) and all(
        info.WhichOneof("encoding") == "name" and info.dtype for info in infos
    )


def _wrong_names(received: set[str], expected: set[str]) -> str:
    def listed(names: set[str]) -> str:
        return "{" + ",".join(sorted(names)) + "}"

    return (
        f"input size does not match signature: {len(received)}!={len(expected)} "
        f"len({listed(received)}) != len({listed(expected)}). "
        f"Sent extra: {listed(received - expected)}. "
        f"Missing but required: {listed(expected - received)}."
    )


def _type_name(dtype: np.dtype[Any]) -> str:
    return str(tf.dtypes.as_dtype(dtype).name)


@contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Without the advice not to use sessions, which does not concern who serves a model."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
