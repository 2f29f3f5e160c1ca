"""Real test digits drawn as people send them, read by the graph and classified.

    python -m benchmarks.pictures [--rounds 5] [--epochs 15]

For every kind of picture in tests/picture_kinds.py the accuracy of a softmax regression on what
``read_pictures`` makes of it, beside that of the same model on the plain images, and what a picture
takes. A photograph of 12 megapixels, decoded and read, beside Pillow decoding it.
"""

import argparse
import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from benchmarks.flags import alone
from benchmarks.measure import Spread
from benchmarks.report import Section
from kmnist import build_model, load_dataset, train
from kmnist.pictures import read_pictures
from tests.pictures.kinds import HARD_KINDS, KINDS, encode, photograph, sheet_of

DIGITS = 300
TIMED = 50  # of each kind, in each round

Read = Callable[[list[bytes]], NDArray[np.uint8]]


def measure(flags: argparse.Namespace, _scratch: Path) -> Section:
    dataset = load_dataset("mnist")
    model = train(build_model(), dataset, epochs=flags.epochs).model
    graph = tf.function(read_pictures, input_signature=[tf.TensorSpec([None], tf.string)])

    def read(pictures: list[bytes]) -> NDArray[np.uint8]:
        return np.asarray(graph(tf.constant(pictures)))

    chosen = np.linspace(0, len(dataset.test.images) - 1, DIGITS).astype(int)
    images, labels = dataset.test.images[chosen], dataset.test.labels[chosen]
    plain = accuracy(model, images, labels)
    kinds = measure_kinds(model, images, labels, read, flags.rounds)
    ours, pillow = measure_photo(images[0], read, flags.rounds)
    ratio = Spread.of([a / b for a, b in zip(ours, pillow, strict=True)])
    photo = f"A photograph of 12 megapixels takes {Spread.of(ours)} s, {ratio} times what Pillow"
    return Section(
        "pictures",
        "Pictures",
        f"{DIGITS} test digits drawn in each way by `tests/picture_kinds.py`, read by the graph of "
        "the signature `pictures` and classified.",
        ["pictures", "accuracy", "points to MNIST's own", "ms a picture"],
        [
            ["MNIST's own images", f"{plain:.3f}", "", ""],
            *(
                [
                    f"{name} (hard)" if name in HARD_KINDS else name,
                    f"{share:.3f}",
                    f"{100 * (share - plain):+.1f}",
                    str(milliseconds),
                ]
                for name, (share, milliseconds) in kinds.items()
            ),
        ],
        notes=[f"{photo} takes to decode it."],
    )


def accuracy(model: Any, images: NDArray[np.uint8], labels: NDArray[Any]) -> float:
    return float(np.mean(model.predict(images, verbose=0).argmax(1) == labels))


def measure_kinds(
    model: Any, images: NDArray[np.uint8], labels: NDArray[Any], read: Read, rounds: int
) -> dict[str, tuple[float, Spread]]:
    """Accuracy, and milliseconds a picture, of each kind."""
    rows = {}
    for name, kind in (KINDS | HARD_KINDS).items():
        pictures = [kind(image, np.random.default_rng(i)) for i, image in enumerate(images)]
        seen = read(pictures)
        some = pictures[:TIMED]
        taken = [seconds_of(partial(read, some)) * 1e3 / len(some) for _ in range(rounds)]
        rows[name] = (accuracy(model, seen, labels), Spread.of(taken))
    return rows


def measure_photo(
    digit: NDArray[np.uint8], read: Read, rounds: int
) -> tuple[list[float], list[float]]:
    """The seconds that a photograph of 12 megapixels takes here, and Pillow to decode it."""
    rng = np.random.default_rng(0)
    pixels = photograph(sheet_of(digit, rng), rng)
    large = np.asarray(Image.fromarray(pixels).resize((4032, 3024), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 5, large.shape)
    photo = encode(np.clip(large + grain, 0, 255).astype(np.uint8), "JPEG", quality=90)
    read([photo])
    ours, pillow = [], []
    for _ in range(rounds):
        ours.append(seconds_of(lambda: read([photo])))
        pillow.append(seconds_of(lambda: Image.open(io.BytesIO(photo)).load()))
    return ours, pillow


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    alone(__doc__, measure)
