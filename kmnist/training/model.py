"""The model: softmax regression as a Keras ``Sequential`` with one Dense layer."""

from contextlib import suppress
from typing import Final

import keras
import tensorflow as tf

from kmnist.checks import INITS, MAX_SEED, integer
from kmnist.data.dataset import MAX_CLASSES
from kmnist.errors import InputError

__all__ = ["build_model", "limit_threads"]

# In the default batches of 100 a matrix product of fewer weights takes less time than waking up a
# second thread (measured with benchmarks/training.py; MNIST has 7,840).
_WEIGHTS_PER_THREAD: Final = 100_000

# With 1,000 classes, images of this height and width have 17 GB of weights.
_MAX_SIZE: Final = 2_048


def build_model(
    image_shape: tuple[int, int] = (28, 28),
    classes: int = 10,
    *,
    init: str = "glorot_uniform",
    seed: int = 0,
) -> keras.Sequential:
    """Build a softmax regression from uint8 images to class probabilities.

    For the pixels x of n images, scaled to [0, 1] and flattened to (n, 784), the hypothesis is ::

        softmax(x W + b)        W (784, 10), b (10,), softmax(z)_k = exp(z_k) / Σ_j exp(z_j)

    Scaling is part of the model, so that training and serving scale equally, and images travel to
    it as bytes.

    The model is that of the tutorial of 2018 that this project follows, whose TensorFlow 1 program
    is lab 7-4 of "Deep Learning Zero to All" by Sung Kim (``lab-07-4-mnist_introduction.py`` in
    https://github.com/hunkim/DeepLearningZeroToAll). With ``init="random_normal"`` the weights are
    initialized as in the tutorial.

    Before TensorFlow starts, building a model as small as this one also limits each operation to
    one thread, which is faster. A number set with
    ``tf.config.threading.set_intra_op_parallelism_threads`` takes precedence.

    Args:
        image_shape: Height and width of an image, in pixels; up to 2,048 each.
        classes: The number of classes, 2 to 1,000.
        init: The initial weights: ``"glorot_uniform"``, Keras's default with a bias of zero, or
            ``"random_normal"``, weights and bias drawn from normal(0, 1).
        seed: The seed of the initial weights, 0 to 2,147,483,646; equal seeds give equal weights.

    Returns:
        A built model from uint8 (n, height, width) to float32 (n, classes). Each row sums to 1.

    Raises:
        InputError: ``init`` is neither of the two, or another argument is of another type or out of
            range.

    Example:
        >>> model = build_model((28, 28), classes=10)
        >>> model.output_shape
        (None, 10)
        >>> model.count_params()  # 784 × 10 weights and 10 biases
        7850
    """
    if not isinstance(image_shape, tuple | list) or len(image_shape) != 2:
        raise InputError(f"image_shape must be (height, width), not {image_shape!r}")
    height, width = (integer("image_shape", size, 1, _MAX_SIZE) for size in image_shape)
    classes = integer("classes", classes, 2, MAX_CLASSES)
    seed = integer("seed", seed, 0, MAX_SEED)
    if init == "glorot_uniform":
        kernel, bias = keras.initializers.GlorotUniform(seed), "zeros"
    elif init == "random_normal":
        kernel = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
        # With the kernel's seed the bias would repeat its first values.
        bias = keras.initializers.RandomNormal(stddev=1.0, seed=seed + 1)
    else:
        raise InputError(f"init must be one of {', '.join(INITS)}, not {init!r}")
    limit_threads(height * width * classes)
    return keras.Sequential(
        [
            keras.Input((height, width), dtype="uint8", name="images"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(
                classes,
                activation="softmax",
                kernel_initializer=kernel,
                bias_initializer=bias,
                name="probabilities",
            ),
        ],
        name="softmax_regression",
    )


def limit_threads(weights: int) -> None:
    """Limit each operation to one thread if the model has few weights and TensorFlow is not running."""
    # Not in train(): the first variable starts TensorFlow, and its threads cannot be changed then.
    threading = tf.config.threading
    if weights < _WEIGHTS_PER_THREAD and not threading.get_intra_op_parallelism_threads():
        with suppress(RuntimeError):  # TensorFlow is already running
            threading.set_intra_op_parallelism_threads(1)
