"""TensorFlow's start, without the lines that it writes to stderr meanwhile."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["starting_tensorflow"]


@contextmanager
def starting_tensorflow() -> Iterator[None]:
    """Keeps TensorFlow's native start-up chatter off stderr; import TensorFlow in the body.

    Its C++ part logs before any log level applies, so the file descriptor itself is turned away.
    If the body fails, what was kept back is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            import tensorflow as tf

            yield
            tf.config.list_physical_devices("GPU")  # looking for one logs too
            tf.get_logger().setLevel("ERROR")
        except Exception:
            os.dup2(terminal, 2)
            kept.seek(0)
            os.write(2, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
