"""Pictures: the accuracy on each kind of picture, and the time that a photograph takes."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness import (
    Options,
    call_in_turn,
    check_accuracy,
    compare,
    milliseconds,
    spread,
    table,
)
from benchmarks.models import trained_models
from kmnist import load_dataset
from kmnist.pictures.limits import MAX_PICTURES
from tests.pictures.kinds import KINDS, encode, photograph, sheet_of

DIGITS: Final = 300
TIMED: Final = 50


def measure(options: Options) -> str:
    """Classify test digits drawn in every way, and time a photograph of 12 megapixels."""
    signatures = tf.saved_model.load(str(trained_models(options.scratch) / "1")).signatures
    test = load_dataset("mnist").test
    chosen = np.linspace(0, len(test) - 1, DIGITS).astype(int)
    images, labels = test.images[chosen], test.labels[chosen]

    def classify(pictures: list[bytes]) -> NDArray[np.int64]:
        starts = range(0, len(pictures), MAX_PICTURES)
        pieces = [tf.constant(pictures[start : start + MAX_PICTURES]) for start in starts]
        return np.concatenate(
            [signatures["pictures"](pictures=each)["class_ids"] for each in pieces]
        )

    found = np.asarray(signatures["serving_default"](images=images)["class_ids"])
    original = check_accuracy(float(np.mean(found == labels)), 0.90, 0.96, "MNIST's own images")
    rows = [["MNIST's own images", f"{original:.3f}", "", ""]]
    for name, kind in KINDS.items():
        pictures = [kind(image, np.random.default_rng(i)) for i, image in enumerate(images)]
        accuracy = float(np.mean(classify(pictures) == labels))
        check_accuracy(accuracy, original - 0.06, 0.96, name)
        timed = partial(classify, pictures[:TIMED])
        times = [milliseconds(timed) / TIMED for _ in range(options.rounds)]
        points = f"{100 * (accuracy - original):+.1f}"
        rows.append([name, f"{accuracy:.3f}", points, spread(times)])
    return (
        f"## Pictures\n\n{DIGITS} test digits drawn in each way by `tests/pictures/kinds.py`, and "
        "classified by the signature `pictures`.\n\n"
        f"{table(rows, 'pictures | accuracy | points | ms a picture')}\n"
        f"{table([_photograph(images[0], classify, options.rounds)])}"
    )


def _photograph(
    digit: NDArray[np.uint8], classify: Callable[[list[bytes]], object], rounds: int
) -> Sequence[str]:
    rng = np.random.default_rng(0)
    small = Image.fromarray(photograph(sheet_of(digit, rng), rng))
    large = np.asarray(small.resize((4032, 3024), Image.Resampling.BICUBIC))
    noisy = large + rng.normal(0, 5, large.shape)
    photo = encode(np.clip(noisy, 0, 255).astype(np.uint8), "JPEG", quality=90)
    ours, theirs = call_in_turn(
        lambda: classify([photo]),
        lambda: Image.open(io.BytesIO(photo)).load(),
        calls=1,
        rounds=rounds,
    )
    return compare("a photograph of 12 megapixels", "ms", ours, "Pillow, decoding alone", theirs)
