"""What all tests share: the tiny data set, a model trained on it, and its exported version.

The tiny data set is real: the first 500 training and 200 test images of MNIST.
"""

import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmnist import Dataset, Evaluation, Run
    from kmnist.server import Server

# A shell's background jobs, and all that they start, ignore Ctrl-C, which the tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The folder of the tiny data set's IDX files."""
    return Path(__file__).parent / "data" / "tiny"


@pytest.fixture(scope="session")
def tiny_dataset(tiny: Path) -> "Dataset":
    """400 training, 100 validation and 200 test images."""
    from kmnist import load_dataset

    return load_dataset(tiny, validation_size=100)


@pytest.fixture(scope="session")
def tiny_tfds(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of TFDS, with the tiny data set prepared as ``tiny_digits``."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from kmnist import load_dataset

    dataset = load_dataset(tiny, validation_size=0)
    features = {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    data_dir = tmp_path_factory.mktemp("tfds")
    tfds.dataset_builders.store_as_tfds_dataset(
        "tiny_digits",
        "1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            name: tf.data.Dataset.from_tensor_slices(
                {"image": split.images[..., None], "label": split.labels.astype("int64")}
            )
            for name, split in (("train", dataset.train), ("test", dataset.test))
        },
        data_dir=data_dir,
    )
    return data_dir


@pytest.fixture(scope="session")
def trained(tiny_dataset: "Dataset") -> "Run":
    """Thirty epochs on the tiny data set: right four times of five. Do not change its model."""
    from kmnist import build_model, train

    return train(build_model(), tiny_dataset, epochs=30)


@pytest.fixture(scope="session")
def evaluation(trained: "Run") -> "Evaluation":
    """Of the trained model, on the tiny test split."""
    from kmnist import evaluate

    return evaluate(trained.model, trained.dataset.test)


@pytest.fixture(scope="session")
def models(trained: "Run", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``…/models/kmnist`` with version 1 exported into it. Copy it to change it."""
    from kmnist import export_model

    base = tmp_path_factory.mktemp("exported") / "models" / "kmnist"
    export_model(trained.model, trained.dataset, base, run=trained)
    return base


@pytest.fixture(scope="session")
def swapped(
    models: Path, tiny_dataset: "Dataset", tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of ``models`` whose version 1 has the weights of another model."""
    from kmnist import build_model, export_model, train

    folder = tmp_path_factory.mktemp("swapped")
    model = build_model()
    train(model, tiny_dataset, epochs=1)
    other = export_model(model, tiny_dataset, folder / "other" / "kmnist")
    base = folder / "models" / models.name
    shutil.copytree(models.parent, base.parent)
    shutil.copytree(other / "variables", base / "1" / "variables", dirs_exist_ok=True)
    return base


@pytest.fixture(scope="session")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Server]":
    """The embedded server with a copy of ``models``, whose version 1 has the label stable."""
    from kmnist.server import Server
    from kmnist.versions import label

    base = tmp_path_factory.mktemp("served") / models.name
    shutil.copytree(models, base)
    label(base, {"stable": 1})
    with Server(base, grpc_port=0, rest_port=0, grace=1) as server:
        yield server


@pytest.fixture(scope="session")
def mixed_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Server]":
    """The embedded server with the model ``mixed``, which has many dtypes and shapes."""
    from kmnist.server import Server
    from tests.server.served_models import save_mixed

    base = tmp_path_factory.mktemp("mixed") / "mixed"
    base.mkdir()
    save_mixed(base)
    with Server(base, grpc_port=0, rest_port=0, grace=1) as server:
        yield server
