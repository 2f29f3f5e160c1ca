"""TensorBoard event files."""

from pathlib import Path

import pytest
import tensorflow as tf

from kmnist import Epoch
from kmnist.training.tensorboard import EventWriter


def read_events(folder: Path) -> dict[str, dict[int, float]]:
    """Return each scalar of the only event file, by its name and step."""
    (path,) = folder.glob("events.*")
    scalars: dict[str, dict[int, float]] = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            scalars.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    return scalars


def test_every_metric_is_written_at_the_step_of_its_epoch(tmp_path: Path) -> None:
    events = EventWriter(tmp_path / "run")
    events.write(Epoch(3, 0.5, 0.8, 0.6, 0.75, 2.0))
    events.write(Epoch(4, 0.25, 0.9, 0.5, 0.8, 1.0))
    assert read_events(tmp_path / "run") == {
        "cost": {3: 0.5, 4: 0.25},
        "accuracy": {3: pytest.approx(0.8), 4: pytest.approx(0.9)},
        "validation_cost": {3: pytest.approx(0.6), 4: 0.5},
        "validation_accuracy": {3: 0.75, 4: pytest.approx(0.8)},
        "seconds": {3: 2.0, 4: 1.0},
    }


def test_missing_validation_metrics_are_omitted(tmp_path: Path) -> None:
    EventWriter(tmp_path).write(Epoch(1, 0.5, 0.8, None, None, 2.0))
    assert set(read_events(tmp_path)) == {"cost", "accuracy", "seconds"}
