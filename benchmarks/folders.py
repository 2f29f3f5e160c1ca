"""Folders: MNIST's 70,000 images as PNG, read for the first time and again.

    python -m benchmarks.folders SIDE DIR

prints the seconds that a side takes to read the folder DIR, without the import of TensorFlow.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.datasets import write_copies, write_pictures
from benchmarks.harness import Options, Usage, compare, python, run, run_in_turn, table

IMAGES: Final = 70_000
KERAS: Final = "`keras.utils.image_dataset_from_directory`, iterated once"


def measure(options: Options) -> str:
    """Read the pictures in turn with Keras, then start again beside IDX files."""
    pictures, idx = options.scratch / "pictures", options.scratch / "idx"
    if not pictures.exists():
        write_pictures(pictures, 2_000 if options.quick else IMAGES)
    if not idx.exists():
        idx.mkdir()
        write_copies(idx, 1)
    usages: dict[str, list[Usage]] = {"kmnist": [], "keras": []}
    for _ in range(options.rounds):
        pictures.with_name("pictures.cache.npz").unlink(missing_ok=True)
        for side, found in usages.items():
            found.append(run(python("-m", "benchmarks.folders", side, str(pictures))))
    rows = []
    for what in ("elapsed", "processor"):
        ours, theirs = ([usage.result[what] for usage in each] for each in usages.values())
        rows.append(compare(f"the first read, {what}", "s", ours, KERAS, theirs))
    again = run_in_turn(
        {folder.name: _train(folder, options.scratch) for folder in (pictures, idx)}, options.rounds
    )
    ours, theirs = ([usage.seconds for usage in each] for each in again.values())
    rows.append(compare("kmnist train, started again", "s", ours, "of IDX files", theirs))
    return (
        "## Folders of pictures\n\nMNIST as PNG, `train/CLASS/*.png` and `test/CLASS/*.png`. The "
        "first read splits nothing and scales nothing; kmnist also keeps the images for the next "
        "start.\n\n"
        f"{table(rows)}"
    )


def read_kmnist(folder: str) -> int:
    """Load the folder; return the number of its images."""
    from kmnist import load_dataset

    dataset = load_dataset(folder)
    return len(dataset.train) + len(dataset.validation) + len(dataset.test)


def read_keras(folder: str) -> int:
    """Iterate over the batches of both splits; return the number of images."""
    import keras

    images = 0
    for split in ("train", "test"):
        batches = keras.utils.image_dataset_from_directory(
            f"{folder}/{split}",
            color_mode="grayscale",
            image_size=(28, 28),
            shuffle=False,
            verbose=False,
        )
        images += sum(len(labels) for _, labels in batches)
    return images


def _train(folder: Path, scratch: Path) -> Sequence[str]:
    models = str(scratch / "again" / folder.name)
    return python(
        "-m", "kmnist", "train", "--epochs", "1", "--dataset", str(folder), "--models", models
    )


if __name__ == "__main__":
    import keras  # noqa: F401 - imported for the time it takes
    import tensorflow  # noqa: F401, ICN001

    started, processor = time.perf_counter(), time.process_time()
    count = {"kmnist": read_kmnist, "keras": read_keras}[sys.argv[1]](sys.argv[2])
    elapsed, processor = time.perf_counter() - started, time.process_time() - processor
    print(json.dumps({"elapsed": elapsed, "processor": processor, "images": count}))
