"""Data sets made of the bundled MNIST, without a network: for TFDS, and of any size."""

import shutil
import struct
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT
from kmnist import load_dataset


def write_tfds(folder: str) -> None:
    """Prepare MNIST so that ``tfds.load("mnist", data_dir=folder)`` reads it."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    source = load_dataset("mnist", validation_size=0)
    image = tfds.features.Image(shape=(28, 28, 1), dtype=np.uint8)
    label = tfds.features.ClassLabel(num_classes=10)
    tfds.dataset_builders.store_as_tfds_dataset(
        "mnist",
        tfds.builder_cls("mnist").VERSION,
        features=tfds.features.FeaturesDict({"image": image, "label": label}),
        split_datasets={
            name: tf.data.Dataset.from_tensor_slices(
                {"image": split.images[..., None], "label": split.labels.astype(np.int64)}
            )
            for name, split in (("train", source.train), ("test", source.test))
        },
        data_dir=folder,
    )


def write_pictures(folder: Path, count: int) -> None:
    """Write the first ``count`` of MNIST's 70,000 images as ``train/CLASS/N.png`` and in ``test``."""
    import tensorflow as tf

    source = load_dataset("mnist", validation_size=0)
    for name, split in (("train", source.train), ("test", source.test)):
        for number in range(len(split) * count // 70_000):
            path = folder / name / str(split.labels[number]) / f"{number:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(split.images[number][..., None]).numpy())


def write_copies(folder: Path, times: int) -> int:
    """Write MNIST's 55,000 training images ``times`` over as raw IDX files; return their number.

    The low bits of the pixels of every further copy are noise. The test files are MNIST's own.
    """
    train, rng = load_dataset("mnist").train, np.random.default_rng(0)
    count = times * len(train)
    with (
        (folder / "train-images-idx3-ubyte").open("wb") as images,
        (folder / "train-labels-idx1-ubyte").open("wb") as labels,
    ):
        images.write(struct.pack(">HBBIII", 0, 8, 3, count, 28, 28))
        labels.write(struct.pack(">HBBI", 0, 8, 1, count))
        for copy in range(times):
            noise = rng.integers(0, 8 if copy else 1, train.images.shape, np.uint8)
            images.write((train.images ^ noise).data)
            labels.write(train.labels.tobytes())
    for path in (ROOT / "kmnist/data/mnist").glob("t10k-*.gz"):
        shutil.copy(path, folder)
    return count
