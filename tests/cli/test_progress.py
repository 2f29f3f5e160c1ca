"""The progress of a training, printed line by line."""

from dataclasses import replace
from pathlib import Path

import pytest

from kmnist import Epoch, Evaluation, Run
from kmnist.cli._progress import TrainingProgress


@pytest.fixture
def progress() -> TrainingProgress:
    return TrainingProgress(15, quiet=False)


@pytest.mark.parametrize(
    ("accuracy", "line"),
    [
        (0.9, "    2  0.5000    0.8000      0.9000     0.25\n"),
        (None, "    2  0.5000    0.8000           -     0.25\n"),
    ],
)
def test_an_epoch_is_a_line_below_the_header(
    progress: TrainingProgress,
    accuracy: float | None,
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.training():
        progress.block(2, 100, 50)
        progress.epoch(Epoch(2, 0.5, 0.8, None, accuracy, 0.25))
    header, epoch = capsys.readouterr().out.splitlines(keepends=True)
    assert header == "epoch    cost  accuracy  validation  seconds\n"
    assert epoch == line


def test_an_interruption_names_the_command_to_continue(progress: TrainingProgress) -> None:
    progress.epoch(Epoch(3, 0.5, 0.8, None, None, 0.25))
    assert progress.interrupted(None) == (
        "interrupted after epoch 3 of 15; no state was saved; use --checkpoint DIR to save it"
    )
    assert progress.interrupted(Path("a b")) == (
        "interrupted after epoch 3 of 15; continue with: --checkpoint 'a b' --resume"
    )


@pytest.mark.parametrize(
    ("accuracies", "line"),
    [
        ([0.8, 0.95, 0.9], "\nepoch 2 was better (0.9500): --keep-best exports it\n"),
        ([0.8, 0.95, 0.94], ""),  # 1 of 100 images
        ([0.8, 0.9, 0.95], ""),
        ([None, None, None], ""),
    ],
)
def test_a_clearly_better_epoch_is_named_with_the_option_that_exports_it(
    progress: TrainingProgress,
    trained: Run,
    evaluation: Evaluation,
    accuracies: list[float | None],
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    history = tuple(Epoch(i, 0.5, 0.8, None, each, 1) for i, each in enumerate(accuracies, 1))
    progress.evaluated(replace(trained, history=history), evaluation)
    assert capsys.readouterr().out.startswith(f"{line}\ntest accuracy")
