"""Start TensorFlow without the messages that it writes to stderr meanwhile."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["starting_tensorflow"]


@contextmanager
def starting_tensorflow() -> Iterator[None]:
    """Import TensorFlow, run the body, and keep what both write to stderr off the terminal.

    TensorFlow's C++ code logs before any log level applies, so the file descriptor itself is
    redirected. What was written is shown if the body fails.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            import tensorflow as tf

            yield
            tf.config.list_physical_devices("GPU")  # the search for GPUs logs as well
            tf.get_logger().setLevel("ERROR")
        except Exception:
            log.seek(0)
            os.write(stderr, log.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
