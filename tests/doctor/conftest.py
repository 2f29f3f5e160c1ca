"""A sound folder of versions, quick to load."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import tensorflow as tf

from kmnist.versions import edit

WriteVersion = Callable[..., None]


@pytest.fixture(scope="session")
def write_version(tmp_path_factory: pytest.TempPathFactory) -> WriteVersion:
    """``write_version(folder, width=28)`` writes a SavedModel that takes images."""

    @cache
    def save(width: int) -> Path:
        folder = tmp_path_factory.mktemp("saved") / "model"
        module = tf.Module()
        module.scale = tf.Variable(tf.ones((width,)))
        module.mean = tf.function(
            lambda images: {"means": tf.reduce_mean(tf.cast(images, tf.float32) * module.scale)},
            input_signature=[tf.TensorSpec((None, width, width), tf.uint8, name="images")],
        )
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.mean})
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return folder

    def write_version(folder: Path, width: int = 28) -> None:
        shutil.copytree(save(width), folder)
        folder.parent.chmod(0o755)

    return write_version


@pytest.fixture
def base(tmp_path: Path, write_version: WriteVersion) -> Path:
    """A folder with the sound versions 1 and 2 and a ``models.config``."""
    folder = tmp_path / "models" / "kmnist"
    for version in ("1", "2"):
        write_version(folder / version)
    with edit(folder):
        pass
    return folder
