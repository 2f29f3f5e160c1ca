"""What training costs as the data grows: 1, 4, 16 and 64 times MNIST.

    python -m benchmarks.growth [--times 1 4 16 64] [--scratch DIR]

Each size is a folder of raw IDX files: MNIST's training images again and again, the low bits of
each copy's pixels replaced by noise. 64 times is 3.5 million images in 2.8 GB, in DIR while they
are measured. Each is trained on in a process of its own: one epoch, which has the compiling in it,
and then --rounds more.
"""

import argparse
import gzip
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.flags import alone
from benchmarks.measure import ROOT, Command, Spread, Usage, last_json, run
from benchmarks.report import Section, megabytes

BOUND = 1.5e9  # bytes of anonymous memory, whatever the size of the data
HELD_OUT = 5_000
MNIST = ROOT / "kmnist/data/mnist"

Bytes = NDArray[np.uint8]


def measure(flags: argparse.Namespace, scratch: Path) -> Section:
    """Makes, trains on and removes the data of each size, one after the other."""
    rows, bars, largest = [], [], Usage()
    for times in flags.times:
        print(f"growth: {times} × MNIST", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            images = make(Path(folder), times)
            arguments = ["--dataset", folder, "--epochs", str(1 + flags.rounds)]
            command = Command("kmnist", ["-m", "benchmarks.kmnist_epochs", *arguments])
            largest = run(command)
        answer = last_json(largest)
        if answer["images"] != images or not 0.85 < answer["test_accuracy"] < 0.93:
            raise RuntimeError(f"{images} images were to be learned from; it printed {answer}")
        first = answer["first_epoch"] / images * 1e6
        later = Spread.of([seconds / images * 1e6 for seconds in answer["epochs"]])
        rows.append(
            [
                f"{times} ×",
                f"{images:,}",
                f"{first:.3g}",
                str(later),
                megabytes(largest.rss),
                megabytes(largest.anonymous),
                f"{answer['test_accuracy']:.4f}",
            ]
        )
        bars.append((f"{times} ×", later))
    verdict = "stayed under" if largest.anonymous < BOUND else "went OVER"
    return Section(
        "growth",
        "Growth",
        "MNIST's 55,000 training images again and again with noise, as raw IDX files, each in a "
        f"process of its own, `{command}`. Resident memory counts pages of the "
        "memory-mapped files, which the kernel can drop; anonymous memory it cannot.",
        [
            "data",
            "images",
            "µs an image, first epoch",
            "later epochs",
            "peak resident",
            "peak anonymous",
            "test accuracy",
        ],
        rows,
        bars,
        "microseconds an image, epochs after the first; a flat line is the aim",
        notes=[f"{rows[-1][0]} {verdict} {megabytes(BOUND)} of anonymous memory."],
    )


def make(folder: Path, times: int) -> int:
    """Writes the four IDX files, a copy of MNIST at a time; returns how many images to train on."""
    images, labels = _train()
    count = times * len(images)
    _write(folder / "train-images-idx3-ubyte", (count, 28, 28), _copies(images, times))
    _write(folder / "train-labels-idx1-ubyte", (count,), (labels for _ in range(times)))
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (folder / name).write_bytes((MNIST / name).read_bytes())
    return count


def _train() -> tuple[Bytes, Bytes]:
    with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(MNIST / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images[HELD_OUT:], labels[HELD_OUT:]


def _copies(images: Bytes, times: int) -> Iterator[Bytes]:
    rng = np.random.default_rng(0)
    yield images
    for _ in range(times - 1):
        yield images ^ rng.integers(0, 8, images.shape, np.uint8)


def _write(path: Path, shape: tuple[int, ...], parts: Iterable[Bytes]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape))
        for part in parts:
            file.write(np.ascontiguousarray(part).data)


if __name__ == "__main__":
    alone(__doc__, measure)
