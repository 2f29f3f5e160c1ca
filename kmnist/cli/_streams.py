"""Standard streams that are closed, full, or cannot encode every character."""

import os
import sys
from contextlib import suppress
from typing import Final

__all__ = ["can_encode", "close_stdout", "open_streams"]

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_streams() -> None:
    """Open the standard streams that are closed, and replace characters that they cannot encode.

    A closed stream, as after ``>&-``, becomes the null device. Otherwise its file descriptor would
    be that of the next opened file, into which TensorFlow's C++ code then writes its log.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            # All lower descriptors are open, so this is the lowest free one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Names of files need not be text: their bytes are written as they are.
            is_utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if is_utf8 else "replace")


def can_encode(text: str) -> bool:
    """Return whether stdout can encode ``text``."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def close_stdout() -> None:
    """Write what stdout has buffered; discard it if that fails.

    Otherwise Python fails to write it at its end, and changes the exit code to 120.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
