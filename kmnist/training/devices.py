"""Select the devices that TensorFlow computes on."""

import tensorflow as tf

from kmnist.checks import DEVICES
from kmnist.errors import InputError, MissingError

__all__ = ["choose_device"]


def choose_device(device: str) -> str:
    """Make TensorFlow use the GPUs or not. Call it before TensorFlow starts.

    Args:
        device: ``"cpu"``; ``"gpu"``, all of them; or ``"auto"``, the GPUs if there are any.

    Returns:
        The devices in use: ``"cpu"``, ``"gpu"``, ``"2 gpus"`` and so on.

    Raises:
        InputError: ``device`` is none of the three, or TensorFlow has started.
        MissingError: ``"gpu"`` was requested, but TensorFlow finds none.
    """
    if device not in DEVICES:
        raise InputError(f"received device {device!r}; expected one of {', '.join(DEVICES)}")
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise MissingError(
            "TensorFlow sees no GPU; check that nvidia-smi lists one and that the CUDA libraries "
            "are installed (pip install 'kmnist[gpu]'), or choose the device cpu"
        )
    if device == "cpu" and gpus:
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError as error:
            raise InputError(
                "received device 'cpu' after TensorFlow started with a GPU; choose the device first"
            ) from error
        gpus = []
    return "cpu" if not gpus else "gpu" if len(gpus) == 1 else f"{len(gpus)} gpus"
