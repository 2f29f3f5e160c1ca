"""The plots of a version."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kmnist import Dataset, Epoch, Evaluation, Run
from kmnist.data import Split
from kmnist.errors import PlotError
from kmnist.export.plots import drawing_plots

_NAMES = ["confusion.png", "samples.png", "training.png", "weights.png"]


def test_the_plots_are_images_with_content(models: Path) -> None:
    for name in _NAMES:
        plot = tf.io.decode_png((models / "1" / name).read_bytes(), channels=3).numpy()
        assert min(plot.shape[:2]) > 200
        assert len(np.unique(plot.reshape(-1, 3), axis=0)) > 20


@pytest.mark.slow
def test_forty_classes_with_long_and_korean_names_are_drawn(
    tmp_path: Path, tiny_dataset: Dataset
) -> None:
    labels = (tiny_dataset.test.labels.astype(np.int64) * 7) % 40
    test = Split(tiny_dataset.test.images, labels)
    names = [f"아주 긴 한국어 the class with the number {number}" for number in range(40)]
    dataset = replace(tiny_dataset, test=test, class_names=tuple(names))
    evaluation = Evaluation.from_predictions(labels, np.eye(40, dtype=np.float32)[labels - 1])
    kernel = tf.zeros((784, 40))
    with drawing_plots(tmp_path, dataset, evaluation, [], kernel):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [*_NAMES[:2], "weights.png"]
    confusion = tf.io.decode_png((tmp_path / "confusion.png").read_bytes()).numpy()
    assert min(confusion.shape[:2]) > 40 * 40  # a cell holds a number of three digits


def test_a_single_epoch_without_validation_is_drawn(
    tmp_path: Path, trained: Run, evaluation: Evaluation
) -> None:
    history = [Epoch(1, 0.5, 0.8, None, None, 1.0)]
    with drawing_plots(tmp_path, trained.dataset, evaluation, history, None):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == _NAMES[:3]


@pytest.mark.parametrize("is_ink", [True, False])
def test_ink_is_dark_on_light_and_other_images_keep_their_tones(
    tmp_path: Path, tiny_dataset: Dataset, evaluation: Evaluation, is_ink: bool
) -> None:
    train, _, test = (
        replace(split, images=split.images if is_ink else 255 - split.images)
        for split in tiny_dataset.splits().values()
    )
    dataset = replace(tiny_dataset, train=train, test=test)
    with drawing_plots(tmp_path, dataset, evaluation, [], None):
        pass
    samples = tf.io.decode_png((tmp_path / "samples.png").read_bytes(), channels=1).numpy()
    assert samples.mean() > 200


def test_one_large_weight_leaves_the_others_visible(
    tmp_path: Path, tiny_dataset: Dataset, evaluation: Evaluation
) -> None:
    kernel = np.full((784, 10), 0.1, np.float32)
    kernel[0, 0] = 50
    with drawing_plots(tmp_path, tiny_dataset, evaluation, [], tf.constant(kernel)):
        pass
    plot = tf.io.decode_png((tmp_path / "weights.png").read_bytes(), channels=3).numpy()
    assert np.mean(np.ptp(plot, axis=2) > 100) > 0.4


def test_a_failure_is_reported_with_its_reason(
    tmp_path: Path, tiny_dataset: Dataset, evaluation: Evaluation
) -> None:
    with (
        pytest.raises(PlotError, match="could not be drawn: FileNotFoundError"),
        drawing_plots(tmp_path / "missing", tiny_dataset, evaluation, [], None),
    ):
        pass
