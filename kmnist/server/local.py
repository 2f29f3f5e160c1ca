"""A client transport to a version in this process, without a server."""

import os
from collections.abc import Sequence
from pathlib import Path

from kmnist.checks import one_line
from kmnist.client.failures import failure
from kmnist.errors import InputError
from kmnist.protocol.messages import Metadata, ModelSpec, Outputs, Request, VersionStatus
from kmnist.server.base_folder import require_base_folder
from kmnist.server.errors import StatusError
from kmnist.server.model import LoadedModel
from kmnist.versions import version_folder

__all__ = ["LocalModel"]


class LocalModel:
    """A loaded version as a transport of a client.

    Errors are those of a client that is connected to a server. The version or label
    that is asked for and the ``timeout`` are not used: there is one version, and a running computation
    cannot be interrupted.

    Example::

        with Client(transport=LocalModel("models/kmnist", version=3)) as client:
            client.predict(images)
    """

    sends_bytes_best = False

    def __init__(self, base: str | os.PathLike[str], version: int | None = None) -> None:
        """Load a version.

        Args:
            base: The folder of versions.
            version: The version number; None for the newest version.

        Raises:
            InputError: ``base`` is a version folder, or the version cannot be loaded.
            MissingError: There is no such version.
        """
        require_base_folder(Path(base))
        folder = version_folder(base, version)
        try:
            # The warm-up takes longer than the first call of the one signature that is needed.
            self._model = LoadedModel(folder, warm_up=False)
        except StatusError as error:
            raise InputError(
                f"{folder} cannot be loaded, see kmnist doctor: {one_line(error)}"
            ) from None

    def predict(self, request: Request, timeout: float, /) -> Outputs:
        """Compute the outputs of a signature.

        Raises:
            InvalidInputError: The model refused the input.
            SignatureNotFoundError: The model has no such signature.
            ServerError: The model failed.
        """
        try:
            outputs = self._model.signature(request.signature_name)(request.inputs)
        except StatusError as error:
            raise failure(error.code.name, error.message) from None
        return Outputs(outputs, self._model.version)

    def metadata(self, spec: ModelSpec, timeout: float, /) -> Metadata:
        """Return the signatures of the version."""
        return Metadata(self._model.version, self._model.signatures)

    def status(self, spec: ModelSpec, timeout: float, /) -> Sequence[VersionStatus]:
        """Return the state of the version, which is always AVAILABLE."""
        return [VersionStatus(self._model.version, "AVAILABLE")]

    def close(self) -> None:
        """Free the model."""
        self._model.close()
