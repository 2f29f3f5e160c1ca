"""The plots of a version."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kmnist import Epoch, Evaluation, Run
from kmnist.errors import PlotError
from kmnist.export import plots

_NAMES = ["confusion.png", "samples.png", "training.png", "weights.png"]


@pytest.fixture
def data(trained: Run, evaluation: Evaluation) -> dict[str, Any]:
    """The arguments of ``drawing_plots`` for the trained model, without the folder."""
    dataset = trained.dataset
    return {
        "history": trained.history,
        "evaluation": evaluation,
        "weights": trained.model.layers[-1].get_weights()[0].reshape(28, 28, 10),
        "test": dataset.test,
        "class_names": dataset.class_names,
    }


def test_the_plots_are_images_with_content(models: Path) -> None:
    for name in _NAMES:
        plot = tf.io.decode_png((models / "1" / name).read_bytes(), channels=3).numpy()
        assert min(plot.shape[:2]) > 200
        assert len(np.unique(plot.reshape(-1, 3), axis=0)) > 20


def test_a_single_epoch_without_validation_is_drawn(tmp_path: Path, data: dict[str, Any]) -> None:
    data["history"] = [Epoch(1, 0.5, 0.8, None, None, 1.0)]
    with plots.drawing_plots(tmp_path, **data):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == _NAMES


def test_a_failure_is_reported_with_its_reason(tmp_path: Path, data: dict[str, Any]) -> None:
    with (
        pytest.raises(PlotError, match="could not be drawn: FileNotFoundError"),
        plots.drawing_plots(tmp_path / "missing", **data),
    ):
        pass


def test_an_error_in_the_block_stops_the_drawing(
    tmp_path: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[str]] = []

    class Popen(subprocess.Popen[str]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with pytest.raises(ZeroDivisionError), plots.drawing_plots(tmp_path, **data):
        raise ZeroDivisionError
    assert [process.returncode for process in started] == [-9]


def test_the_first_images_and_the_first_mistakes_are_shown(
    trained: Run, evaluation: Evaluation
) -> None:
    test = trained.dataset.test
    chosen = plots._choose(evaluation, test)
    assert chosen[:16].tolist() == list(range(16))
    mistakes = np.flatnonzero(evaluation.class_ids != test.labels)
    assert chosen[16:].tolist() == mistakes[:16].tolist()
