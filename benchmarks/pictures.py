"""Real test digits drawn as people send them, read by the graph and classified.

    python benchmarks/pictures.py [--digits 300] [--epochs 15] [--json]

For every kind of picture in tests/picture_kinds.py it prints the accuracy of a softmax regression
on what `read_pictures` makes of it, beside the accuracy of the same model on the plain images, and
the seconds a picture takes. At the end a photograph of 12 megapixels, decoded and read, beside
Pillow decoding it.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from kmnist import build_model, load_dataset, train
from kmnist.pictures import read_pictures
from tests.picture_kinds import HARD_KINDS, KINDS, encode, photograph, sheet_of

Read = Callable[[list[bytes]], NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digits", type=int, default=300, help="test digits of each kind")
    parser.add_argument("--epochs", type=int, default=15, help="epochs the model trains")
    parser.add_argument("--rounds", type=int, default=5, help="readings of the large photograph")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    dataset = load_dataset("mnist")
    model = train(build_model(), dataset, epochs=arguments.epochs).model
    graph = tf.function(read_pictures, input_signature=[tf.TensorSpec([None], tf.string)])

    def read(pictures: list[bytes]) -> NDArray[np.uint8]:
        return np.asarray(graph(tf.constant(pictures)))

    chosen = np.linspace(0, len(dataset.test.images) - 1, arguments.digits).astype(int)
    images, labels = dataset.test.images[chosen], dataset.test.labels[chosen]
    plain = accuracy(model, images, labels)
    kinds = measure_kinds(model, images, labels, read)
    photo = measure_photo(images[0], read, arguments.rounds)
    if arguments.json:
        print(json.dumps({"plain images": plain, "kinds": kinds, "photo": photo}))
        return
    print(f"{arguments.digits} digits, plain images: {plain:.3f}")
    for name, row in kinds.items():
        hard = "  (hard)" if name in HARD_KINDS else ""
        points = 100 * (row["accuracy"] - plain)
        print(f"{name:24}{row['accuracy']:.3f} {points:+5.1f}  {row['seconds']:.3f} s{hard}")
    print(f"{photo['megapixels']:.1f} megapixels: {photo['seconds']:.2f} s, ", end="")
    print(f"Pillow's decoding alone {photo['pillow']:.2f} s")


def accuracy(model: Any, images: NDArray[np.uint8], labels: NDArray[Any]) -> float:
    return float(np.mean(model.predict(images, verbose=0).argmax(1) == labels))


def measure_kinds(
    model: Any, images: NDArray[np.uint8], labels: NDArray[Any], read: Read
) -> dict[str, dict[str, float]]:
    """Accuracy and seconds a picture of each kind."""
    rows = {}
    for name, kind in (KINDS | HARD_KINDS).items():
        pictures = [kind(image, np.random.default_rng(i)) for i, image in enumerate(images)]
        start = time.perf_counter()
        seen = read(pictures)
        seconds = (time.perf_counter() - start) / len(pictures)
        rows[name] = {"accuracy": accuracy(model, seen, labels), "seconds": seconds}
    return rows


def measure_photo(digit: NDArray[np.uint8], read: Read, rounds: int) -> dict[str, float]:
    """The median seconds of a photograph of 12 megapixels, and of Pillow decoding it."""
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
    return {
        "megapixels": large.shape[0] * large.shape[1] / 1e6,
        "seconds": statistics.median(ours),
        "pillow": statistics.median(pillow),
    }


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
