"""Locks between processes, which the kernel releases however their holder ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["locked"]


@contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = True) -> Iterator[int]:
    """Holds the lock file ``path``, made if it is not there; yields its file descriptor.

    A file and not the folder itself: NFS locks only what is open for writing.

    Raises:
        BlockingIOError: somebody holds it, and ``wait`` is false.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield handle
    finally:
        os.close(handle)
