"""TLS settings of a connection."""

from dataclasses import dataclass

from kmnist.errors import InvalidInputError

__all__ = ["TLS"]


@dataclass(frozen=True, slots=True)
class TLS:
    """Certificates of a connection over ``grpcs://`` or ``https://``. All files are PEM.

    Attributes:
        ca: Path of the certificates to trust; by default those of the system.
        certificate: Path of the client's certificate chain, for servers that require one.
        key: Path of the private key of ``certificate``.
        server_name: The name in the server's certificate, if it differs from the address.

    Raises:
        InvalidInputError: Only one of ``certificate`` and ``key`` is given.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            given, missing = ("key", "certificate") if self.key else ("certificate", "key")
            raise InvalidInputError(
                f"received {given}= without {missing}=; expected both or neither"
            )

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Read the files; return the contents of ``ca``, ``key`` and ``certificate``.

        Raises:
            InvalidInputError: A file cannot be read.
        """
        return _contents(self.ca), _contents(self.key), _contents(self.certificate)


def _contents(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidInputError(
            f"cannot read the TLS file {path}: {error.strerror}; expected a PEM file"
        ) from None
