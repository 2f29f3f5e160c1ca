"""What TensorFlow is to compute with: devices and threads. To be chosen before it starts."""

from contextlib import suppress

import tensorflow as tf

from kmnist.errors import InputError, MissingError

__all__ = ["DEVICES", "choose_device", "choose_threads"]

DEVICES = ("auto", "cpu", "gpu")

# An operation of fewer multiplications than this is over before a second thread has woken up
# (measured with benchmarks/training.py; MNIST's largest, 100 × 784 × 10, takes a tenth of it).
_WORTH_SHARING = 10_000_000


def choose_device(device: str) -> str:
    """Makes TensorFlow use GPUs or not; to be called before it does anything else.

    Args:
        device: ``"cpu"``; ``"gpu"``, all of them; or ``"auto"``, GPUs where there are any.

    Returns:
        What will be used: ``"cpu"``, ``"gpu"``, or ``"2 gpus"`` and so on.

    Raises:
        MissingError: ``"gpu"``, and TensorFlow sees none.
        InputError: another name, or TensorFlow has started already.
    """
    if device not in DEVICES:
        raise InputError(f"received device {device!r}; expected one of {', '.join(DEVICES)}")
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise MissingError(
            "TensorFlow sees no GPU; check that nvidia-smi lists one and that the CUDA libraries "
            "are there (pip install 'kmnist[gpu]'), or use --device cpu"
        )
    if device == "cpu" and gpus:
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError as error:
            raise InputError(
                f"the device has to be chosen before TensorFlow starts: {error}"
            ) from error
        gpus = []
    return "cpu" if not gpus else "gpu" if len(gpus) == 1 else f"{len(gpus)} gpus"


def choose_threads(multiplications: int) -> None:
    """Keeps each operation on one thread if its largest is too small to be shared.

    Args:
        multiplications: Of a step's largest matrix product: batch × pixels × classes.
    """
    if multiplications < _WORTH_SHARING:
        with suppress(RuntimeError):  # TensorFlow has started already, with the threads it has
            tf.config.threading.set_intra_op_parallelism_threads(1)
