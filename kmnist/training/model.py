"""The model: softmax regression as a Keras ``Sequential`` of one Dense layer."""

import keras

from kmnist.errors import InputError

__all__ = ["INITS", "build_model"]

# The starts on offer: Keras's own, and the one of the tutorial, weights and bias from normal(0, 1).
INITS = ("glorot_uniform", "random_normal")


def build_model(
    image_shape: tuple[int, int] = (28, 28),
    classes: int = 10,
    *,
    init: str = "glorot_uniform",
    seed: int = 0,
) -> keras.Sequential:
    """Softmax regression: uint8 images in, probabilities out.

    Scaling to [0, 1] is part of the model, so training and serving cannot scale differently, and
    a quarter of the bytes of float32 images travels to it.

    Args:
        image_shape: Height and width of an image, in pixels.
        classes: The number of classes.
        init: ``"glorot_uniform"``, Keras's default (the bias starts at zero), or
            ``"random_normal"``: weights and bias from normal(0, 1), as the tutorial starts.
        seed: Of the initial weights; the same seed gives the same weights.

    Returns:
        A built model: uint8 (n, height, width) → float32 (n, classes), each row summing to 1.

    Raises:
        InputError: ``init`` is neither of the two.
    """
    if init == "glorot_uniform":
        kernel, bias = keras.initializers.GlorotUniform(seed), "zeros"
    elif init == "random_normal":
        kernel = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
        # Another seed than the kernel's, or the bias would repeat its first values.
        bias = keras.initializers.RandomNormal(stddev=1.0, seed=seed + 1)
    else:
        raise InputError(f"received init {init!r}; expected one of {', '.join(INITS)}")
    return keras.Sequential(
        [
            keras.Input(image_shape, dtype="uint8", name="images"),
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
