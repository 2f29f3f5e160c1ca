"""A version of a model, loaded for inference.

This is the only place where a SavedModel is loaded: the embedded server, the client's local
transport and the doctor share it. It runs in a TensorFlow session, as in TensorFlow Serving,
rather than through ``tf.saved_model.load``: the same models load, the same shapes are accepted and
the same errors are raised. A small request takes a tenth of the time, because no eager tensors are
created.
"""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2

from kmnist.checks import one_line
from kmnist.errors import KmnistError
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import Signature, read_signatures
from kmnist.protocol.warmup import read_warmup
from kmnist.server.errors import StatusError, from_tensorflow, invalid, shortened
from kmnist.versions import verify_version

__all__ = ["LoadedModel", "LoadedSignature"]

_RUN_IN_CALLING_THREAD: Final = -1
_SESSION_CONFIG: Final = tf.compat.v1.ConfigProto(
    # By default TensorFlow allocates all memory of a GPU and leaves none for the next version.
    gpu_options={"allow_growth": True},
    # By default it also optimizes a graph twice, which delays the first answer for no gain.
    graph_options={"rewrite_options": {"meta_optimizer_iterations": "ONE"}},
)
# Without the deprecation warning about sessions, which does not apply to serving.
_load_into: Final = inspect.unwrap(tf.compat.v1.saved_model.load)


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
    _run: Callable[..., Sequence[NDArray[Any]]]

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
        try:
            results = self._run(*(inputs[name] for name in self.inputs))
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from None
        return dict(zip(self.outputs, results, strict=True))

    def check_names(self, names: AbstractSet[str]) -> None:
        """Compare the names of the inputs of a request with those of the signature.

        Raises:
            StatusError: They differ.
        """
        if names != self.inputs.keys():
            received, expected = (", ".join(sorted(each)) for each in (names, self.inputs))
            raise invalid(
                f"input size does not match signature: {len(names)}!={len(self.inputs)}, "
                f"received {shortened(received)}, expected {expected}"
            )


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
        self.version = int(folder.name)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=_SESSION_CONFIG)
        try:
            if verify:
                verify_version(folder)
            self._load(folder)
            if warm_up:
                self._warm_up(folder)
        except Exception as error:  # noqa: BLE001 - TensorFlow raises almost anything
            self.close()
            raise _load_error(error) from None

    @property
    def signatures(self) -> dict[str, Signature]:
        """Inputs and outputs of the signatures that a client can call, by name."""
        return read_signatures(pb.SignatureDefMap.FromString(self.metadata).signature_def)

    def signature(self, name: str) -> LoadedSignature:
        """Return the signature ``name``; an empty name stands for the default signature.

        Raises:
            StatusError: The model has no such signature.
        """
        name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        if name not in self._signatures:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{shortened(name)}" not found.',
            )
        return self._signatures[name]

    def close(self) -> None:
        """Free the model; no request may be running in it."""
        self._session.close()

    def _load(self, folder: Path) -> None:
        meta_graph = _load_into(self._session, [tf.saved_model.SERVING], os.fspath(folder))
        signatures = pb.SignatureDefMap()
        for name, definition in meta_graph.signature_def.items():
            signatures.signature_def[name].ParseFromString(definition.SerializeToString())
        self.metadata = signatures.SerializeToString(deterministic=True)
        self._signatures = {
            name: self._loaded(name, definition)
            for name, definition in meta_graph.signature_def.items()
            if _is_callable(definition)
        }

    def _warm_up(self, folder: Path) -> None:
        """Run the requests of the warm-up file, so that no caller waits for one-time work."""
        try:
            for name, inputs in read_warmup(folder):
                self.signature(name)(inputs)
        except Exception as reason:  # noqa: BLE001 - as above
            error = _load_error(reason)
            raise StatusError(error.code, f"the warm-up failed: {error.message}") from None

    def _loaded(self, name: str, definition: Any) -> LoadedSignature:
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
        # With the public make_callable, the server answers a quarter to a third fewer requests of one
        # image (one client: 515 instead of 715 a second over gRPC, 310 instead of 510 over REST).
        run = self._session._make_callable_from_options(options)  # noqa: SLF001
        if any(dtype.name == "bfloat16" for dtype in inputs.values()):
            run = _casting(run, list(inputs.values()))
        return LoadedSignature(name, inputs, tuple(definition.outputs), run)


def _casting(run: Callable[..., Any], dtypes: Sequence[np.dtype[Any]]) -> Callable[..., Any]:
    """Return a function that casts float32, as messages are read, to bfloat16 before it calls ``run``."""

    def cast(*arrays: NDArray[Any]) -> Any:
        return run(
            *(
                array.astype(dtype) if dtype.name == "bfloat16" else array
                for array, dtype in zip(arrays, dtypes, strict=True)
            )
        )

    return cast


def _load_error(error: Exception) -> StatusError:
    if isinstance(error, StatusError):
        return error
    if isinstance(error, tf.errors.OpError):
        return from_tensorflow(error)
    # verify_version raises a KmnistError for a version that differs from its manifest.
    code = grpc.StatusCode.DATA_LOSS if isinstance(error, KmnistError) else grpc.StatusCode.INTERNAL
    return StatusError(code, one_line(error))


def _is_callable(definition: Any) -> bool:
    """Return whether all inputs and outputs are dense tensors; not so for the initializer."""
    infos = [*definition.inputs.values(), *definition.outputs.values()]
    return bool(definition.outputs) and all(info.name and info.dtype for info in infos)
