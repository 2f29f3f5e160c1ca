"""What several benchmarks need, made once and outside every timing: data for TFDS, and a model.

    python -m benchmarks.prepare DIR

makes MNIST as TFDS prepares it from the bundled files, without a network. Afterwards
``tfds.load("mnist", data_dir=DIR)`` reads it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Command, run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    store(parser.parse_args().folder)


def tfds_mnist(scratch: Path) -> Path:
    """MNIST as TFDS prepares it; takes about a minute to make."""
    folder = scratch / "tfds"
    if not any(folder.glob("mnist/*/dataset_info.json")):
        print("preparing MNIST for TFDS", file=sys.stderr, flush=True)
        run(Command("prepare", ["-m", "benchmarks.prepare", str(folder)]))
    return folder


def trained(scratch: Path) -> Path:
    """A folder of one version, to serve and to load."""
    base = scratch / "served" / "kmnist"
    if not any(base.glob("[0-9]*")):
        print("training a model to serve", file=sys.stderr, flush=True)
        run(Command("train", ["-m", "kmnist", "train", "--output", str(base)]))
    return base


@contextmanager
def serving(base: Path) -> Iterator[dict[str, Any]]:
    """``kmnist serve`` in a process of its own; its addresses by ``grpc`` and ``rest``.

    Raises:
        RuntimeError: it did not start.
    """
    command = ["-m", "kmnist", "serve", "--base", str(base), "--engine", "embedded", "--json"]
    process = subprocess.Popen(
        [sys.executable, *command, "--rest-port", "0", "--grpc-port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"kmnist serve --base {base} did not start; run it to see why")
        yield json.loads(line)
    finally:
        process.terminate()
        process.communicate()


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
