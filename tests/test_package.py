"""The package: its public names, and the modules that its parts import."""

import subprocess
import sys
from pathlib import Path

import pytest

import kmnist
from kmnist.cli import COMMANDS

HEAVY = (
    "tensorflow",
    "keras",
    "grpc",
    "matplotlib",
    "tensorflow_datasets",
    "numpy",
    "aiohttp",
    "rich",
)


def loaded_after(code: str) -> set[str]:
    """Return the heavy modules that a new Python process has loaded after ``code``."""
    code += f"\nimport sys; print('LOADED', *[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_every_public_name_exists() -> None:
    for name in kmnist.__all__:
        assert getattr(kmnist, name) is not None
    assert set(kmnist.__all__) <= set(dir(kmnist))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kmnist' has no attribute 'Clinet'"):
        kmnist.Clinet  # type: ignore[attr-defined]  # noqa: B018


def test_a_name_that_needs_the_extra_train_says_so() -> None:
    code = "import sys; sys.modules['keras'] = None; from kmnist import train"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ModuleNotFoundError" in done.stderr
    assert "pip install -c constraints.txt '.[train]'" in done.stderr.splitlines()[-1]


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import kmnist") == set()


def test_the_client_loads_neither_tensorflow_nor_keras() -> None:
    assert not loaded_after("from kmnist import AsyncClient, Client, predict_stream") & {
        "tensorflow", "keras", "matplotlib", "tensorflow_datasets",
    }  # fmt: skip


def test_reading_idx_files_needs_no_tensorflow(tiny: Path) -> None:
    code = f"from kmnist import load_dataset; load_dataset({str(tiny)!r}, validation_size=0)"
    assert loaded_after(code) == {"numpy"}


@pytest.mark.parametrize(
    "command",
    ["", *COMMANDS, "versions list", "versions compare", "versions label", "versions prune"],
)
def test_help_loads_nothing_heavy(command: str) -> None:
    arguments = [*command.split(), "--help"]
    code = f"from kmnist.cli import main\ntry: main({arguments})\nexcept SystemExit: pass"
    assert loaded_after(code) == set()
