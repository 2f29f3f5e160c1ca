"""Training: the arithmetic, the reports, and that a resumed run ends where a whole one does."""

from pathlib import Path

import numpy as np
import pytest

from kmnist import Dataset, InputError, MissingError, Run, build_model, evaluate, train
from kmnist.metrics import Epoch
from kmnist.training import loop
from kmnist.training.batches import epoch_order
from kmnist.training.loop import weights_digest


def softmax_sgd(dataset: Dataset, weights: list[np.ndarray], epochs: int, batch: int, rate: float):
    """The same training in NumPy, float64, from the formulas. Returns weights and costs."""
    kernel, bias = (weight.astype(np.float64) for weight in weights)
    images = dataset.train.images.reshape(len(dataset.train), -1) / 255
    one_hot = np.eye(len(dataset.class_names))[dataset.train.labels]
    costs = []
    for epoch in range(epochs):
        order, cost = epoch_order(len(images), 0, epoch), 0.0
        for start in range(0, len(images), batch):
            x, y = images[order[start : start + batch]], one_hot[order[start : start + batch]]
            logits = x @ kernel + bias
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            cost -= np.log((p * y).sum(axis=1)).sum()
            gradient = (p - y) / len(x)
            kernel -= rate * x.T @ gradient
            bias -= rate * gradient.sum(axis=0)
        costs.append(cost / len(images))
    return [kernel, bias], costs


@pytest.mark.parametrize("init", ["glorot_uniform", "random_normal"])
@pytest.mark.parametrize("batch_size", [100, 64, 1000])  # whole batches, a rest, all in one
@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_softmax_regression_by_sgd(
    tiny_dataset: Dataset,
    init: str,
    batch_size: int,
    compiled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "_WORTH_COMPILING", 0 if compiled else 10**9)
    model = build_model(init=init)
    expected, costs = softmax_sgd(tiny_dataset, model.get_weights(), 3, batch_size, 0.1)
    run = train(model, tiny_dataset, epochs=3, batch_size=batch_size)
    for weight, wanted in zip(model.get_weights(), expected, strict=True):
        assert np.allclose(weight, wanted, atol=2e-5)
    assert [epoch.cost for epoch in run.history] == pytest.approx(costs, rel=1e-4)


def test_it_learns(trained: Run) -> None:
    first, last = trained.history[0], trained.history[-1]
    assert last.cost < first.cost / 2
    assert evaluate(trained.model, trained.dataset.test).accuracy > 0.75


def test_the_same_seed_gives_the_same_weights_to_the_bit(tiny_dataset: Dataset) -> None:
    digests = [
        train(build_model(seed=seed), tiny_dataset, epochs=2, seed=seed).weights_digest
        for seed in (7, 7, 8)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_is_of_the_weights(trained: Run) -> None:
    assert trained.weights_digest == weights_digest(trained.model)
    other = build_model()
    other.set_weights(trained.model.get_weights())
    assert weights_digest(other) == trained.weights_digest
    kernel, bias = other.get_weights()
    kernel[0, 0] += 1e-6
    other.set_weights([kernel, bias])
    assert weights_digest(other) != trained.weights_digest


def test_an_epochs_report_is_true(trained: Run) -> None:
    last = trained.history[-1]
    validation = evaluate(trained.model, trained.dataset.validation)
    assert last.epoch == 30
    assert last.validation_accuracy == validation.accuracy
    assert last.validation_cost == pytest.approx(validation.cost)
    assert 0 < last.accuracy <= 1
    assert last.seconds > 0


def test_it_tells_of_blocks_and_epochs_and_prints_nothing(
    tiny_dataset: Dataset, capfd: pytest.CaptureFixture[str]
) -> None:
    blocks: list[tuple[int, int, int]] = []
    epochs: list[Epoch] = []
    run = train(
        build_model(),
        tiny_dataset,
        epochs=2,
        batch_size=90,
        on_block=lambda *block: blocks.append(block),
        on_epoch=epochs.append,
    )
    assert blocks == [(1, 4, 5), (1, 5, 5), (2, 4, 5), (2, 5, 5)]
    assert tuple(epochs) == run.history
    assert capfd.readouterr().out == ""


def test_without_validation_images(tiny: Path) -> None:
    from kmnist import load_dataset

    run = train(build_model(), load_dataset(tiny, validation_size=0), epochs=1)
    assert run.history[0].validation_accuracy is None


class Stopped(Exception):
    pass


def stop_after(epochs: int):
    def stop(epoch: Epoch) -> None:
        if epoch.epoch == epochs:
            raise Stopped

    return stop


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_a_resumed_run_ends_with_the_weights_of_a_whole_one(
    tiny_dataset: Dataset, tmp_path: Path, stopped_after: int
) -> None:
    whole = train(build_model(), tiny_dataset, epochs=4)
    with pytest.raises(Stopped):
        train(
            build_model(),
            tiny_dataset,
            epochs=4,
            checkpoint=tmp_path,
            on_epoch=stop_after(stopped_after),
        )
    resumed = train(build_model(seed=99), tiny_dataset, epochs=4, checkpoint=tmp_path, resume=True)
    assert resumed.weights_digest == whole.weights_digest
    assert [epoch.cost for epoch in resumed.history] == [epoch.cost for epoch in whole.history]


def test_a_finished_run_can_be_resumed_to_more_epochs(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    train(build_model(), tiny_dataset, epochs=2, checkpoint=tmp_path)
    more = train(build_model(), tiny_dataset, epochs=3, checkpoint=tmp_path, resume=True)
    assert more.weights_digest == train(build_model(), tiny_dataset, epochs=3).weights_digest


def test_a_run_cannot_be_resumed_to_fewer_epochs(tiny_dataset: Dataset, tmp_path: Path) -> None:
    train(build_model(), tiny_dataset, epochs=2, checkpoint=tmp_path)
    with pytest.raises(InputError, match=r"received epochs 1; .*is after epoch 2"):
        train(build_model(), tiny_dataset, epochs=1, checkpoint=tmp_path, resume=True)


def test_another_runs_checkpoint_is_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    train(build_model(), tiny_dataset, epochs=1, checkpoint=tmp_path)
    with pytest.raises(InputError, match=r"learning_rate 0\.1, this one has 0.2"):
        train(
            build_model(),
            tiny_dataset,
            epochs=2,
            learning_rate=0.2,
            checkpoint=tmp_path,
            resume=True,
        )


def test_nothing_to_resume_is_said(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="start the run without resuming"):
        train(build_model(), tiny_dataset, checkpoint=tmp_path, resume=True)
    with pytest.raises(InputError, match="without a checkpoint folder"):
        train(build_model(), tiny_dataset, resume=True)


def test_tensorboard_gets_every_figure(tiny_dataset: Dataset, tmp_path: Path) -> None:
    import tensorflow as tf

    run = train(build_model(), tiny_dataset, epochs=2, tensorboard=tmp_path)
    (events,) = tmp_path.glob("events.*")
    figures: dict[str, list[float]] = {}
    for record in tf.data.TFRecordDataset(str(events)).as_numpy_iterator():
        for value in tf.compat.v1.Event.FromString(record).summary.value:
            figures.setdefault(value.tag, []).append(float(tf.make_ndarray(value.tensor)))
    assert figures["cost"] == pytest.approx([epoch.cost for epoch in run.history])
    assert set(figures) == {
        "cost", "accuracy", "validation_cost", "validation_accuracy", "seconds",
    }  # fmt: skip


def test_settings_out_of_range_are_refused(tiny_dataset: Dataset) -> None:
    for settings, message in (
        ({"epochs": 0}, "epochs 0; expected at least 1"),
        ({"batch_size": 0}, "batch_size 0; expected at least 1"),
        ({"learning_rate": 0.0}, "learning_rate 0.0; expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate nan"),
    ):
        with pytest.raises(InputError, match=message):
            train(build_model(), tiny_dataset, **settings)


def test_a_model_for_other_data_is_refused(tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"\(20, 20\) pixels and 10 classes; .*\(28, 28\)"):
        train(build_model((20, 20)), tiny_dataset)
    with pytest.raises(InputError, match="4 classes"):
        train(build_model(classes=4), tiny_dataset)


def test_an_empty_split_cannot_be_evaluated(trained: Run) -> None:
    with pytest.raises(InputError, match="empty split"):
        evaluate(trained.model, trained.dataset.test[:0])


SEVERAL_DEVICES = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from kmnist import build_model, load_dataset, train
dataset = load_dataset(sys.argv[1], validation_size=5)  # 495: the last batch is odd
weights = []
for devices in ([], ["CPU:0", "CPU:1"]):
    model = build_model()
    train(model, dataset, epochs=2, batch_size=90, devices=devices)
    weights.append(model.get_weights())
assert all(np.allclose(*pair, atol=1e-5) for pair in zip(*weights, strict=True))
assert not all(np.array_equal(*pair) for pair in zip(*weights, strict=True))
print("same update")
"""


def test_several_devices_make_the_same_update(tiny: Path) -> None:
    # Logical devices have to be made before TensorFlow starts: in a process of its own.
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", SEVERAL_DEVICES, str(tiny)], capture_output=True, text=True
    )
    assert done.stdout.strip() == "same update", done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestTheTutorial:
    """The bundled MNIST in full: the numbers that the README promises."""

    def test_its_own_start(self) -> None:
        from kmnist import load_dataset

        dataset = load_dataset()
        model = build_model(init="random_normal")
        run = train(model, dataset)
        costs = [epoch.cost for epoch in run.history]
        assert costs[0] == pytest.approx(2.8177, abs=0.4)  # depends on the random start
        assert costs == sorted(costs, reverse=True)
        assert 0.43 <= costs[-1] <= 0.50
        assert 0.88 <= evaluate(model, dataset.test).accuracy <= 0.90

    def test_keras_start(self) -> None:
        from kmnist import load_dataset

        dataset = load_dataset()
        model = build_model()
        train(model, dataset)
        assert 0.918 <= evaluate(model, dataset.test).accuracy <= 0.930
