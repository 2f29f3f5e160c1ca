"""What all tests share: the tiny data set, a model trained on it, and its exported version.

The tiny data set is real: the first 500 training and 200 test images of MNIST.
"""

import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmnist import Dataset, Evaluation, Run
    from kmnist.server import Server


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
    """A data directory of TFDS, with the tiny data set as ``tiny_digits``.

    TFDS itself downloads and prepares it, from a server on this machine.
    """
    import tensorflow_datasets as tfds

    from kmnist.data.idx import read_idx

    class TinyDigits(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            features = {
                "image": tfds.features.Image(shape=(28, 28, 1)),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {
                split: self._generate_examples(
                    dl_manager.download(
                        {
                            "image": f"{url}/{prefix}-images-idx3-ubyte.gz",
                            "label": f"{url}/{prefix}-labels-idx1-ubyte.gz",
                        }
                    )
                )
                for split, prefix in (("train", "train"), ("test", "t10k"))
            }

        def _generate_examples(self, files: dict[str, Any]) -> "Iterator[tuple[int, Any]]":
            # TFDS names a download after its content, and keeps the suffix.
            images, labels = read_idx(files["image"], ndim=3), read_idx(files["label"], ndim=1)
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield number, {"image": image[..., None], "label": int(label)}

    handler = partial(QuietHandler, directory=str(tiny))
    data_dir = tmp_path_factory.mktemp("tfds")
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("no_proxy", "127.0.0.1")
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            TinyDigits(data_dir=data_dir).download_and_prepare()
        finally:
            server.shutdown()
    return data_dir


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


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
