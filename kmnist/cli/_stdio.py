"""Standard streams that are closed, full or unable to encode a character."""

import io
import os
import sys

__all__ = ["flush_stdout", "open_stdio"]


def open_stdio() -> None:
    """Open the standard streams that are closed, and escape characters that they cannot encode.

    A closed stream, as after ``>&-``, becomes the null device. Otherwise its file descriptor would
    be that of the next opened file, into which TensorFlow's C++ code then writes its log.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # All lower descriptors are open, so this gets the one of the stream.
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr does; names need not be text


def flush_stdout() -> None:
    """Write what stdout has buffered; discard it if that fails.

    Otherwise Python fails to write it at its end, and changes the exit code to 120.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
