"""What the peers share, apart from the pipeline that each is here for: MNIST and the answer.

Nothing here or in any peer imports kmnist. A peer prints one JSON line: the seconds of its first
epoch, the seconds of each later one, and the accuracy on the test split, which shows that it did
the same work.
"""

import argparse
import gzip
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BATCH = 100
LEARNING_RATE = 0.1
HELD_OUT = 5_000  # the first training images, for validation; no peer looks at them

_FOLDER = Path(__file__).parents[2] / "kmnist/data/mnist"


def parse(description: str | None, **loops: str) -> argparse.Namespace:
    """The flags of a peer: ``--epochs``, and ``--loop`` if it has several."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    if loops:
        parser.add_argument("--loop", choices=loops, required=True, help=str(loops))
    return parser.parse_args()


def read(split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """``train`` (without those held out) or ``t10k``: images float32 (n, 784) in [0, 1],
    and labels int64 (n,).
    """
    with gzip.open(_FOLDER / f"{split}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(_FOLDER / f"{split}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    if split == "train":
        images, labels = images[HELD_OUT:], labels[HELD_OUT:]
    return images.astype(np.float32) / np.float32(255), labels


def answer(seconds: list[float], test_accuracy: float, *packages: str) -> None:
    print(
        json.dumps(
            {
                "first_epoch": seconds[0],
                "epochs": seconds[1:],
                "test_accuracy": test_accuracy,
                "versions": {name: version(name) for name in packages},
            }
        )
    )
