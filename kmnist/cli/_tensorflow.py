"""Start TensorFlow, without the messages that it writes to stderr meanwhile."""

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from kmnist.errors import InputError

__all__ = ["require_tensorflow", "starting_tensorflow"]

_NOTE: Final = b"starting TensorFlow ..."
_ERASE: Final = b"\r\x1b[K"


def require_tensorflow() -> None:
    """Raise before a command reads, writes or waits for anything, if TensorFlow cannot be used.

    Raises:
        InputError: Keras shall use another backend.
        ModuleNotFoundError: TensorFlow is not installed.
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise InputError(f"KERAS_BACKEND is {backend}: unset it, kmnist needs TensorFlow")
    if find_spec("tensorflow") is None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


@contextmanager
def starting_tensorflow() -> Iterator[None]:
    """Import TensorFlow, run the body, and keep what both write to stderr off the terminal.

    TensorFlow's C++ code logs before any log level applies, so the file descriptor itself is
    redirected. What was written is shown if the body fails. As it takes seconds, a terminal shows
    a note meanwhile.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    on_terminal = os.isatty(stderr)
    if on_terminal:
        os.write(stderr, _NOTE)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        is_first = "tensorflow" not in sys.modules
        gc.disable()  # the search for cyclic garbage is a fifth of the import
        try:
            import tensorflow as tf

            yield
            tf.config.list_physical_devices("GPU")  # the search for GPUs logs as well
            tf.get_logger().setLevel("ERROR")
        except Exception:
            log.seek(0)
            os.write(stderr, b"\n" * on_terminal + log.read())
            raise
        finally:
            if is_first:
                gc.freeze()  # later searches leave out what was imported, which is never garbage
            gc.enable()
            if on_terminal:
                os.write(stderr, _ERASE)
            os.dup2(stderr, 2)
            os.close(stderr)
