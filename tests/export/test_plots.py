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


def test_the_first_images_and_the_next_mistakes_are_shown_once(
    trained: Run, evaluation: Evaluation
) -> None:
    test = trained.dataset.test
    chosen = plots._choose(evaluation, test)
    assert chosen[:16].tolist() == list(range(16))
    mistakes = np.flatnonzero(evaluation.class_ids != test.labels)
    assert mistakes[0] < 16
    assert chosen[16:].tolist() == [index for index in mistakes if index >= 16][:16]


def test_characters_that_the_default_font_lacks_come_from_an_installed_one() -> None:
    from matplotlib.font_manager import findfont, get_font

    assert plots._fonts("T-shirt/top, größer") == ["DejaVu Sans"]
    character = "\u214a"  # in STIXGeneral, which Matplotlib contains
    default, other = plots._fonts(character)
    assert ord(character) not in get_font(findfont(default)).get_charmap()
    assert ord(character) in get_font(findfont(other)).get_charmap()


def test_long_names_are_cut_and_korean_letters_count_twice() -> None:
    assert plots._short("Ankle boot", 12) == "Ankle boot"
    assert plots._short("Ankle boots and shoes", 12) == "Ankle boots…"
    assert plots._short("아주 긴 한국어", 14) == "아주 긴 한국어"
    assert plots._short("아주 긴 한국어", 12) == "아주 긴 한…"


@pytest.mark.slow
def test_many_classes_with_long_names_are_drawn(tmp_path: Path, data: dict[str, Any]) -> None:
    names = [f"the class with the number {number}" for number in range(40)]
    labels = data["test"].labels.astype(np.int64)
    probabilities = np.eye(40, dtype=np.float32)[(labels * 7) % 40]
    data["evaluation"] = Evaluation.from_predictions(labels, probabilities)
    data["weights"] = np.zeros((28, 28, 40), np.float32)
    data["class_names"] = names
    with plots.drawing_plots(tmp_path, **data):
        pass
    confusion = tf.io.decode_png((tmp_path / "confusion.png").read_bytes()).numpy()
    assert min(confusion.shape[:2]) > 40 * 40  # a cell holds a number of three digits
