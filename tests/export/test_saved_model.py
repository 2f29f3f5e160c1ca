"""Export: content of a version folder, verification, and no version after a failure."""

import doctest
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kmnist import (
    Dataset,
    Evaluation,
    InputError,
    MissingError,
    Run,
    Split,
    build_model,
    evaluate,
    export_model,
    load_model,
    train,
)
from kmnist.errors import ExportError, KmnistError
from kmnist.export import saved_model
from kmnist.protocol.warmup import read_warmup
from kmnist.versions import list_versions, verify_version

_SIGNATURES = ["serving_default", "pixels", "pictures", "explain", "classes"]


@keras.saving.register_keras_serializable("kmnist-tests")
class Noise(layers.Layer):  # type: ignore[misc]
    """Random, whether the model is trained or not."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + tf.random.normal(tf.shape(inputs))


@keras.saving.register_keras_serializable("kmnist-tests")
class Forgetful(layers.Layer):  # type: ignore[misc]
    """Forgets its factor, so that Keras loads it with another one."""

    def __init__(self, factor: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * self.factor

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


FACTORS = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([0], [2.0]), 1.0)


@keras.saving.register_keras_serializable("kmnist-tests")
class Untracked(layers.Layer):  # type: ignore[misc]
    """Uses a table that it does not own, so that a SavedModel cannot have it."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * FACTORS.lookup(tf.constant(0))


@keras.saving.register_keras_serializable("kmnist-tests")
class InPython(layers.Layer):  # type: ignore[misc]
    """Computes in Python, which no server has."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        doubled = tf.numpy_function(lambda values: values * 2, [inputs], tf.float32)
        return tf.ensure_shape(doubled, inputs.shape)


class Unregistered(layers.Layer):  # type: ignore[misc]
    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * 2


def dense(*after: layers.Layer) -> keras.Model:
    """Return a model of logits of pixels from -1 to 1."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((28, 28)), layers.Flatten(), layers.Dense(10), *after])


def test_the_folder_holds_model_warmup_card_and_plots(models: Path) -> None:
    files = {str(path.relative_to(models / "1")) for path in (models / "1").rglob("*")}
    assert {
        "saved_model.pb",
        "variables/variables.index",
        "assets.extra/tf_serving_warmup_requests",
        "model.keras",
        "model_card.json",
        "README.md",
        "training.png",
        "confusion.png",
        "weights.png",
        "samples.png",
    } <= files
    assert [path.name for path in models.iterdir()] == ["1"]
    assert (models.parent / "models.config").exists()
    assert verify_version(models / "1")


def test_other_users_can_read_the_version(models: Path) -> None:
    for path in [models / "1", *(models / "1").rglob("*")]:
        wanted = 0o555 if path.is_dir() else 0o444
        assert path.stat().st_mode & wanted == wanted, path


def test_the_warmup_file_has_a_request_for_each_signature(models: Path, trained: Run) -> None:
    requests = dict(read_warmup(models / "1"))
    assert list(requests) == _SIGNATURES
    first = trained.dataset.train.images[:1]
    png = tf.io.encode_png(first[0][..., None]).numpy()
    assert np.array_equal(requests["serving_default"]["images"], first)
    assert requests["pixels"]["pixels"].tolist() == [first[0].tobytes()]
    assert requests["pictures"] == requests["explain"] == {"pictures": [png]}
    assert requests["classes"]["class_ids"].tolist() == [0]


def test_the_warmup_file_conforms_to_the_schema_of_tensorflow_serving(models: Path) -> None:
    logs = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api"
    )
    path = models / "1" / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    requests = [logs.PredictionLog.FromString(record).predict_log.request for record in records]
    assert [request.model_spec.signature_name for request in requests] == _SIGNATURES
    assert {request.model_spec.name for request in requests} == {"kmnist"}
    assert tf.make_ndarray(requests[0].inputs["images"]).shape == (1, 28, 28)


def test_the_examples_in_the_docstrings_run(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"run": trained, "model": trained.model, "dataset": trained.dataset}
    assert doctest.testmod(saved_model, extraglobs=names) == (0, 3)
    loaded = load_model("models/kmnist/1")
    assert np.array_equal(loaded.get_weights()[0], trained.model.get_weights()[0])


def test_images_of_another_size_without_ink_and_a_model_no_better_than_chance(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (60, 12, 17), np.uint8), random.integers(0, 3, 60)
    split = Split(images, labels)
    dataset = Dataset("noise", split[:40], split[:0], split[40:], ("low", "middle", "high"))
    model = build_model((12, 17), 3)
    evaluation = Evaluation.from_predictions(split[40:].labels, np.eye(3, dtype="f4")[[0] * 20])
    folder = export_model(model, dataset, tmp_path / "noise", evaluation=evaluation)
    assert "no better than chance: " in caplog.text
    assert "(pixel_range)" in caplog.text
    loaded = tf.saved_model.load(str(folder)).signatures
    answer = loaded["pixels"](pixels=tf.constant([image.tobytes() for image in images]))
    assert np.array_equal(answer["probabilities"], model(images))
    card = json.loads((folder / "model_card.json").read_text())
    assert "resized to fit and centred" in card["data"]["pictures"]


@pytest.mark.slow
def test_a_version_of_pixels_from_minus_1_to_1_is_loaded_as_accurate_as_it_was(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    model = dense()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=False)
    scaled = tiny_dataset.train.images / 127.5 - 1
    model.fit(scaled, tiny_dataset.train.labels, batch_size=20, epochs=8, verbose=0)
    version = export_model(model, tiny_dataset, tmp_path / "own", pixel_range=(-1, 1))
    assert sorted(path.name for path in version.glob("*.png")) == ["confusion.png", "samples.png"]
    assert [name for name, _ in read_warmup(version)] == _SIGNATURES[:-1]
    test = tiny_dataset.test
    here = model(test.images / np.float32(127.5) - 1).numpy().argmax(axis=1)
    accuracy = (here == test.labels).mean()
    assert accuracy > 0.7
    assert evaluate(load_model(version), test, pixel_range=(-1, 1)).accuracy == accuracy


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (
            Noise(),
            ExportError,
            "the probabilities of the signature serving_default differ by .*random",
        ),
        (
            Forgetful(3.0),
            ExportError,
            r"the answers of model\.keras differ by .*get_config of each must",
        ),
        (
            Untracked(),
            ExportError,
            r"cannot be exported \(AssertionError: Tried to export a functi",
        ),
        (InPython(), ExportError, "a layer of the model calls Python .*: use operations of keras"),
        (Unregistered(), InputError, "TypeError: Could not locate class 'Unregistered'.*decorate"),
    ],
)
def test_a_model_that_cannot_be_reproduced_is_not_published(
    layer: layers.Layer,
    error: type[KmnistError],
    message: str,
    tiny_dataset: Dataset,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message) as caught:
        export_model(dense(layer), tiny_dataset, tmp_path / "kmnist")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "kmnist").iterdir()) == []


_KILLED = """
import os, signal, sys
from keras import layers
from kmnist import build_model, export_model, load_dataset

class Killing(layers.Layer):
    def call(self, inputs):
        return inputs

    def get_config(self):  # called by Keras to write model.keras
        os.kill(os.getpid(), signal.SIGKILL)

model = build_model()
model.add(Killing())
export_model(model, load_dataset(sys.argv[1], validation_size=0), sys.argv[2])
"""


@pytest.mark.slow
def test_a_killed_export_leaves_no_version_and_the_next_one_cleans_up(
    trained: Run, tiny: Path, tmp_path: Path
) -> None:
    base = tmp_path / "models" / "kmnist"
    done = subprocess.run([sys.executable, "-c", _KILLED, tiny, base], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert list_versions(base) == []
    assert list(base.glob(".staging-*/saved_model.pb"))
    # A comment in this place would be lost, so the file is not edited.
    (base.parent / "models.config").write_text("model_config_list { # ours\n}")
    with pytest.raises(InputError, match="write the entry by hand") as caught:
        export_model(trained.model, trained.dataset, base)
    assert caught.value.__notes__ == [f"{base}/1 is published nevertheless"]
    assert [path.name for path in base.iterdir()] == ["1"]


def test_what_is_no_version_of_kmnist_is_not_loaded(models: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no model\.keras in .*; load the folder of a version"):
        load_model(models)
    (tmp_path / "model.keras").write_bytes(b"no zip file")
    with pytest.raises(InputError, match="is not a model in Keras' format"):
        load_model(tmp_path)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  model.keras\n")
    with pytest.raises(KmnistError, match=r"model\.keras has the SHA-256"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda run: {"dataset": replace(run.dataset, test=run.dataset.test[:0])}, "no examples"),
        (lambda run: {"pixel_range": (0, 2)}, r"pixel_range must be \(0, 255\).*Normalization"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(
    arguments: Callable[[Run], dict[str, Any]], message: str, trained: Run, tmp_path: Path
) -> None:
    given = {"model": trained.model, "dataset": trained.dataset, **arguments(trained)}
    with pytest.raises(InputError, match=message):
        export_model(**given, base=tmp_path / "kmnist")
    assert list(tmp_path.iterdir()) == []


def test_a_run_before_the_last_training_is_refused(trained: Run, tmp_path: Path) -> None:
    model = build_model(seed=1)
    run = train(model, trained.dataset, epochs=1)
    train(model, trained.dataset, epochs=1)
    with pytest.raises(InputError, match="the run is not the last training of this model"):
        export_model(model, trained.dataset, tmp_path / "kmnist", run=run)
