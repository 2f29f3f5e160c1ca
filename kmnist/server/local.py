"""A version folder, asked by the client without any server."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.client.failures import refused
from kmnist.errors import InputError
from kmnist.protocol.metadata import Metadata, Signature, TensorSpec, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs
from kmnist.protocol.serving_pb2 import DataType
from kmnist.versions import version_folder

__all__ = ["LocalModel"]


class LocalModel:
    """A transport to a SavedModel in this process, for ``Client(transport=…)``.

    Args:
        folder: A version folder, or the folder that holds the versions.
        version: Which of those; the latest if None.

    Raises:
        MissingError: There is no such version.
        InputError: The folder cannot be loaded.
    """

    sends_bytes_best = False

    def __init__(self, folder: str | os.PathLike[str], version: int | None = None) -> None:
        path = Path(folder)
        if not (path / "saved_model.pb").is_file():
            path = version_folder(path, version)
        elif version is not None:
            raise InputError(
                f"received --version {version} with the version folder {path}; give one of them"
            )
        self.folder = path
        self._version = int(path.name) if path.name.isdigit() else 0
        try:
            # Kept whole: its functions die with it.
            self._model = tf.saved_model.load(os.fspath(path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise InputError(f"{path} cannot be loaded as a SavedModel: {error}") from None

    def predict(
        self,
        _spec: ModelSpec,
        signature: str,
        inputs: Mapping[str, NDArray[Any]],
        _timeout: float,
    ) -> Outputs:
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        try:
            answer = self._model.signatures[signature](**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise refused(error.message) from None
        return Outputs({name: np.asarray(value) for name, value in answer.items()}, self._version)

    def metadata(self, _spec: ModelSpec, _timeout: float) -> Metadata:
        return Metadata(
            self._version,
            {
                name: Signature(
                    _specs(function.structured_input_signature[1]),
                    _specs(function.structured_outputs),
                )
                for name, function in self._model.signatures.items()
            },
        )

    def status(self, _spec: ModelSpec, _timeout: float) -> Sequence[VersionStatus]:
        return [VersionStatus(self._version, "AVAILABLE")]

    def close(self) -> None:
        """Nothing is open."""


def _specs(specs: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            DataType.Name(spec.dtype.as_datatype_enum),
            None if spec.shape.rank is None else tuple(spec.shape.as_list()),
        )
        for name, spec in specs.items()
    }
