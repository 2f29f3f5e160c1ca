"""MNIST as TFDS prepares it, made from the bundled files without a network.

    python -m benchmarks.prepare DIR

Afterwards ``tfds.load("mnist", data_dir=DIR)`` reads it. The benchmarks that need it make it
themselves, outside every timing, unless they are given one with ``--tfds DIR``.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.measure import Command, run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    store(parser.parse_args().folder)


def add_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tfds",
        type=Path,
        metavar="DIR",
        help="what python -m benchmarks.prepare DIR made; by default it is made anew",
    )


def prepared_mnist(tfds: Path | None, scratch: Path) -> Path:
    """The folder of ``--tfds``, or one in ``scratch``, which takes about a minute to make."""
    folder = (tfds or scratch / "tfds").resolve()
    if not (folder / "mnist").is_dir():
        print("preparing MNIST for TFDS", file=sys.stderr, flush=True)
        run(Command("prepare", ["-m", "benchmarks.prepare", str(folder)]))
    return folder


def store(folder: Path) -> None:
    import numpy as np
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from kmnist import load_dataset

    source = load_dataset("mnist", validation_size=0)
    tfds.dataset_builders.store_as_tfds_dataset(
        "mnist",
        tfds.builder_cls("mnist").VERSION,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(28, 28, 1), dtype=np.uint8),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        ),
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(
                {"image": part.images[..., None], "label": part.labels.astype(np.int64)}
            )
            for split, part in (("train", source.train), ("test", source.test))
        },
        data_dir=folder,
    )


if __name__ == "__main__":
    main()
