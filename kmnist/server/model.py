"""A version of a model, loaded for inference.

This is the only place where a SavedModel is loaded: the embedded server, the client's local
transport and the doctor share it. It runs in a TensorFlow session, as in TensorFlow Serving,
rather than through ``tf.saved_model.load``: the same models load, the same shapes are accepted and
the same errors are raised. A small request takes a tenth of the time, because no eager tensors are
created.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

from kmnist.errors import KmnistError
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import Signature, TensorSpec
from kmnist.protocol.tensors import dtype_name, shape_of
from kmnist.protocol.warmup import read_warmup
from kmnist.server.errors import StatusError, from_tensorflow, invalid, shortened
from kmnist.versions import verify_version

__all__ = ["LoadedModel", "LoadedSignature"]

_RUN_IN_CALLING_THREAD: Final = -1
# TensorFlow Serving fails to load a version with more.
_MAX_WARMUP_RECORDS: Final = 1000
_INTERNAL_SIGNATURE: Final = "__saved_model_init_op"


@dataclass(frozen=True)
class LoadedSignature:
    """A signature that can be called.

    Attributes:
        name: The name of the signature.
        inputs: The dtypes of the inputs by name; object stands for strings.
        outputs: The names of the outputs.
    """

    name: str
    inputs: Mapping[str, np.dtype[Any]]
    outputs: tuple[str, ...]
    _run: Any

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute all outputs.

        Args:
            inputs: An array for each input; strings are object arrays of bytes.

        Returns:
            An array for each output; strings are object arrays of bytes.

        Raises:
            StatusError: Names or dtypes differ from the signature's, or the model failed.
        """
        self.check_names(inputs.keys())
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
        except (TypeError, ValueError) as error:  # a string tensor with elements other than bytes
            raise invalid(str(error)) from None
        return dict(zip(self.outputs, results, strict=True))

    def check_names(self, names: AbstractSet[str]) -> None:
        """Compare the names of the inputs of a request with those of the signature.

        Raises:
            StatusError: They differ.
        """
        if names != self.inputs.keys():
            raise invalid(_wrong_names(set(names), set(self.inputs)))


class LoadedModel:
    """A loaded version.

    Attributes:
        version: The version number.
        metadata: The signatures, ``__saved_model_init_op`` included, as a serialized
            SignatureDefMap.
    """

    def __init__(self, folder: Path, *, warm_up: bool = True, verify: bool = True) -> None:
        """Load a version.

        Args:
            folder: The version folder; its name is the version number.
            warm_up: Run the requests of the warm-up file.
            verify: Compare the files with the manifest of the version, if it has one.

        Raises:
            StatusError: The version differs from its manifest, cannot be loaded, or a request of
                its warm-up file fails.
        """
        if verify:
            _verify(folder)
        self.version = int(folder.name)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=_session_config())
        try:
            self._load(folder)
            if warm_up:
                self._warm_up(folder)
        except BaseException:
            self.close()
            raise

    @property
    def signatures(self) -> dict[str, Signature]:
        """Inputs and outputs of the signatures that a client can call, by name."""
        definitions = pb.SignatureDefMap.FromString(self.metadata).signature_def
        return {
            name: Signature(_specs(definition.inputs), _specs(definition.outputs))
            for name, definition in definitions.items()
            if name != _INTERNAL_SIGNATURE
        }

    def signature(self, name: str) -> LoadedSignature:
        """Return the signature ``name``; an empty name stands for the default signature.

        Raises:
            StatusError: The model has no such signature.
        """
        name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        try:
            return self._runners[name]
        except KeyError:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{shortened(name)}" not found.',
            ) from None

    def close(self) -> None:
        """Free the model; no request may be running in it."""
        self._session.close()

    def _load(self, folder: Path) -> None:
        try:
            with _without_warnings():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], os.fspath(folder)
                )
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from None
        except (OSError, RuntimeError, ValueError) as error:  # TensorFlow's loader in Python
            raise _internal(error) from None
        definitions = meta_graph.signature_def
        self.metadata = _signature_map(definitions)
        self._runners = {
            name: self._runner(name, definition)
            for name, definition in definitions.items()
            if _is_callable(definition)
        }

    def _warm_up(self, folder: Path) -> None:
        """Run the requests of the warm-up file, so that no caller waits for one-time work."""
        try:
            for number, (name, inputs) in enumerate(read_warmup(folder), start=1):
                if number > _MAX_WARMUP_RECORDS:
                    raise invalid(f"the file has more than {_MAX_WARMUP_RECORDS:,} records")
                self.signature(name)(inputs)
        except tf.errors.OpError as error:
            raise _warmup_failed(from_tensorflow(error)) from None
        except StatusError as error:
            raise _warmup_failed(error) from None
        except (OSError, ValueError, DecodeError) as error:
            raise _warmup_failed(_internal(error)) from None

    def _runner(self, name: str, definition: Any) -> LoadedSignature:
        options = config_pb2.CallableOptions(
            feed=[info.name for info in definition.inputs.values()],
            fetch=[info.name for info in definition.outputs.values()],
        )
        inputs = {
            alias: np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype)
            for alias, info in definition.inputs.items()
        }
        # The transfer to TensorFlow's thread pool takes longer than softmax regression. Only
        # string inputs cause work that is worth distributing: decoding a thousand pictures.
        if not any(dtype.kind == "O" for dtype in inputs.values()):
            options.run_options.inter_op_thread_pool = _RUN_IN_CALLING_THREAD
        # The public make_callable does the same, but a small request takes four times as long.
        run = self._session._make_callable_from_options(options)  # noqa: SLF001
        return LoadedSignature(name, inputs, tuple(definition.outputs), run)


def _verify(folder: Path) -> None:
    try:
        verify_version(folder)
    except KmnistError as error:
        raise StatusError(grpc.StatusCode.DATA_LOSS, str(error)) from None


def _session_config() -> Any:
    # By default TensorFlow allocates all memory of a GPU and leaves none for the next version.
    config = tf.compat.v1.ConfigProto(gpu_options=tf.compat.v1.GPUOptions(allow_growth=True))
    # By default it also optimizes a graph twice, which delays the first answer for no gain.
    rewriting = config.graph_options.rewrite_options
    rewriting.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    # Nor does it gain from a plan of its memory, a tenth of the time of a load.
    rewriting.memory_optimization = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT
    return config


def _signature_map(definitions: Mapping[str, Any]) -> bytes:
    return pb.SignatureDefMap(
        signature_def={
            name: pb.SignatureDef.FromString(definition.SerializeToString())
            for name, definition in definitions.items()
        }
    ).SerializeToString(deterministic=True)


def _specs(infos: Mapping[str, pb.TensorInfo]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(dtype_name(info.dtype), shape_of(info.tensor_shape))
        for name, info in infos.items()
    }


def _is_callable(definition: Any) -> bool:
    """Return whether all inputs and outputs are dense tensors; not so for the initializer."""
    infos = [*definition.inputs.values(), *definition.outputs.values()]
    return bool(definition.outputs) and all(
        info.WhichOneof("encoding") == "name" and info.dtype for info in infos
    )


def _wrong_names(received: set[str], expected: set[str]) -> str:
    def listed(names: set[str]) -> str:
        return "{" + shortened(",".join(sorted(names))) + "}"

    return (
        f"input size does not match signature: {len(received)}!={len(expected)} "
        f"len({listed(received)}) != len({listed(expected)}). "
        f"Sent extra: {listed(received - expected)}. "
        f"Missing but required: {listed(expected - received)}."
    )


def _type_name(dtype: np.dtype[Any]) -> str:
    return str(tf.dtypes.as_dtype(dtype).name)


def _internal(error: Exception) -> StatusError:
    return StatusError(grpc.StatusCode.INTERNAL, str(error))


def _warmup_failed(error: StatusError) -> StatusError:
    return StatusError(error.code, f"the warm-up failed: {error.message}")


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress the deprecation warning about sessions, which does not apply to serving."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
