"""The errors that kmnist's own code raises outside the client.

::

    KmnistError                 the work failed (exit code 1)
    ├── InputError              what the caller gave cannot be used (exit code 2); also a ValueError
    └── MissingError            something that has to exist does not (exit code 2); also a FileNotFoundError

Each message is one line: what was received, what was expected, what to do. The client has a
tree of its own in :mod:`kmnist.client.errors`, because it imports nothing of the rest.
"""

from typing import ClassVar

__all__ = ["InputError", "KmnistError", "MissingError"]


class KmnistError(Exception):
    """The work failed, and not because of what the caller gave."""

    exit_code: ClassVar[int] = 1


class InputError(KmnistError, ValueError):
    """What the caller gave cannot be used: a bad file, flag, shape or value."""

    exit_code: ClassVar[int] = 2


class MissingError(KmnistError, FileNotFoundError):
    """A file, folder, version or device that has to be there is not."""

    exit_code: ClassVar[int] = 2
