"""Fixtures of the tests of versions."""

from pathlib import Path

import pytest

from kmnist.versions import publish, stage


def publish_version(base: Path) -> int:
    """Publish a version with a few bytes in place of a model."""
    with stage(base) as staged:
        (staged / "saved_model.pb").write_bytes(b"model")
        (staged / "variables").mkdir()
        return publish(staged, base)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of a model with the versions 1 to 4."""
    folder = tmp_path / "models" / "kmnist"
    for _ in range(4):
        publish_version(folder)
    return folder
