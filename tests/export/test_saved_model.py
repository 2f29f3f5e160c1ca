"""Export: content of a version folder, verification, and no version after a failure."""

import doctest
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kmnist import (
    Client,
    InputError,
    Run,
    Server,
    build_model,
    evaluate,
    export_model,
    load,
    train,
)
from kmnist.data import Dataset, Split
from kmnist.errors import ExportError, KmnistError
from kmnist.export import saved_model
from kmnist.export.signatures import ServingSignature
from kmnist.protocol.warmup import read_warmup
from kmnist.versions import list_versions, publish, verify_version

_SIGNATURES = ["serving_default", "pixels", "pictures", "explain", "classes"]


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
    assert requests["pictures"]["pictures"].tolist() == [png]
    assert requests["explain"]["pictures"].tolist() == [png]
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


def test_other_image_shapes_and_class_counts_are_exported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 12, 17), dtype=np.uint8)
    labels = (images.mean(axis=(1, 2)) > 127).astype(np.uint8) + rng.integers(0, 2, 60).astype(
        np.uint8
    )
    split = Split(images, labels)
    dataset = Dataset("noise", split[:40], split[:0], split[40:], ("low", "middle", "high"))
    model = build_model((12, 17), 3)
    run = train(model, dataset, epochs=1)
    folder = export_model(model, dataset, tmp_path / "models" / "noise", run=run)
    loaded = tf.saved_model.load(str(folder)).signatures
    expected = model(images).numpy()
    answer = loaded["pixels"](pixels=tf.constant([image.tobytes() for image in images]))
    assert np.allclose(answer["probabilities"], expected, atol=1e-6)
    card = json.loads((folder / "model_card.json").read_text())
    assert "not drawn in ink on black: grey, resized to fit" in card["pictures"]
    assert card["training"]["history"][0]["validation_accuracy"] is None


def test_the_version_is_the_highest_one_plus_1(models: Path, trained: Run, tmp_path: Path) -> None:
    base = tmp_path / "models" / "kmnist"
    shutil.copytree(models / "1", base / "7")
    assert export_model(trained.model, trained.dataset, base) == base / "8"


def test_the_version_has_a_manifest(models: Path) -> None:
    assert verify_version(models / "1")


def test_a_broken_models_config_is_refused_before_the_export(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "models.config").write_text("garbage {")
    with pytest.raises(InputError, match=r"models\.config cannot be read"):
        export_model(trained.model, trained.dataset, tmp_path / "kmnist")
    assert [path.name for path in tmp_path.iterdir()] == ["models.config"]


def test_an_error_after_publishing_says_that_the_version_is_published(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "kmnist"

    def publish_then_break(folder: Path, base: Path) -> int:
        version = publish(folder, base)
        (tmp_path / "models.config").write_text("garbage {")
        return version

    monkeypatch.setattr(saved_model, "publish", publish_then_break)
    with pytest.raises(KmnistError, match=rf"^published {base}/1, but .* cannot be read") as caught:
        export_model(trained.model, trained.dataset, base)
    assert caught.value.exit_code == 1
    assert list_versions(base) == [1]


def test_a_model_that_answers_differently_is_not_published(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = saved_model._write_saved_model

    def write_changed_weights(folder: Path, signatures: tuple[ServingSignature, ...]) -> None:
        dense = trained.model.layers[-1]
        kernel, bias = dense.get_weights()
        dense.set_weights([kernel, bias[::-1]])
        try:
            write(folder, signatures)
        finally:
            dense.set_weights([kernel, bias])

    monkeypatch.setattr(saved_model, "_write_saved_model", write_changed_weights)
    with pytest.raises(ExportError, match=r"probabilities of .* serving_default differs from"):
        export_model(trained.model, trained.dataset, tmp_path / "kmnist")
    assert list((tmp_path / "kmnist").iterdir()) == []


def test_a_warmup_file_without_a_signature_is_not_published(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "write_warmup", lambda *_: None)
    with pytest.raises(ExportError, match=r"has requests for \[\]; expected \['serving_default'"):
        export_model(trained.model, trained.dataset, tmp_path / "kmnist")
    assert list((tmp_path / "kmnist").iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_model, "write_warmup", no_space)
    with pytest.raises(OSError, match="No space left"):
        export_model(trained.model, trained.dataset, tmp_path / "kmnist")
    assert list((tmp_path / "kmnist").iterdir()) == []


def test_a_file_instead_of_the_folder_is_rejected(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "kmnist").write_text("")
    with pytest.raises(InputError, match="is not a folder; expected a folder"):
        export_model(trained.model, trained.dataset, tmp_path / "kmnist")


_EXPORT = """
import sys
from kmnist import build_model, export_model, load_dataset, train
dataset = load_dataset(sys.argv[1], validation_size=0)
run = train(build_model(), dataset, epochs=1)
export_model(run.model, dataset, sys.argv[2])
"""


def test_a_killed_export_leaves_no_version_and_the_next_one_cleans_up(
    trained: Run, tiny: Path, tmp_path: Path
) -> None:
    base = tmp_path / "models" / "kmnist"
    process = subprocess.Popen([sys.executable, "-c", _EXPORT, str(tiny), str(base)])
    while not list(base.glob(".staging-*/*")) and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert list_versions(base) == []
    assert list(base.glob(".staging-*"))
    assert export_model(trained.model, trained.dataset, base) == base / "1"
    assert [path.name for path in base.iterdir()] == ["1"]


def test_the_example_in_the_docstring_runs(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"run": trained, "model": trained.model, "dataset": trained.dataset}
    assert doctest.testmod(saved_model, extraglobs=names) == (0, 1)


def test_importing_the_package_does_not_import_tensorflow() -> None:
    code = "import sys, kmnist.export; print('tensorflow' in sys.modules, 'numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_nothing_is_logged_as_in_a_notebook(
    trained: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("INFO")  # TensorFlow's level in an interactive Python
    logger.addHandler(caplog.handler)
    try:
        export_model(trained.model, trained.dataset, tmp_path / "kmnist")
        assert logger.level == logging.INFO
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel(level)
    assert "Assets written" not in caplog.text


@pytest.fixture(scope="module")
def network(tiny_dataset: Dataset) -> keras.Model:
    """A small convolutional network with logits, trained with ``fit``."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 5, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train = tiny_dataset.train
    model.fit(train.images, train.labels, batch_size=20, epochs=6, verbose=0)
    return model


@pytest.fixture(scope="module")
def exported_network(
    network: keras.Model, tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The version folder of the network."""
    return export_model(network, tiny_dataset, tmp_path_factory.mktemp("exported") / "cnn")


def test_any_keras_classifier_is_exported_without_what_it_cannot_show(
    network: keras.Model, exported_network: Path, tiny_dataset: Dataset
) -> None:
    plots = sorted(path.name for path in exported_network.glob("*.png"))
    assert plots == ["confusion.png", "samples.png"]
    assert [name for name, _ in read_warmup(exported_network)] == _SIGNATURES[:-1]
    card = json.loads((exported_network / "model_card.json").read_text())
    assert card["model"]["kind"] == "Keras classifier"
    assert card["training"] is None
    assert card["test"]["accuracy"] == evaluate(network, tiny_dataset.test).accuracy > 0.7
    assert np.array_equal(load(exported_network).get_weights()[0], network.get_weights()[0])


@pytest.mark.parametrize("api", ["grpc", "rest"])
def test_a_served_network_is_as_accurate_as_the_local_one(
    api: str, exported_network: Path, tiny_dataset: Dataset
) -> None:
    test = tiny_dataset.test
    accuracy = json.loads((exported_network / "model_card.json").read_text())["test"]["accuracy"]
    with Server(exported_network.parent, grpc_port=0, rest_port=0) as server:
        url = server.grpc_url if api == "grpc" else server.rest_url
        with Client(url, model="cnn") as client:
            predictions = client.predict(test.images)
            picture = tf.io.encode_png(test.images[0][..., None]).numpy()
            assert client.predict_pictures([picture])[0].class_name == "7"
    assert (predictions.class_ids == test.labels).mean() == accuracy


def test_a_run_of_another_model_is_refused(trained: Run, tmp_path: Path) -> None:
    model = build_model(seed=1)
    with pytest.raises(InputError, match="received a run of another model or data set"):
        export_model(model, trained.dataset, tmp_path / "kmnist", run=trained)
    run = train(model, trained.dataset, epochs=1)
    train(model, trained.dataset, epochs=1)
    with pytest.raises(InputError, match="or of other weights"):
        export_model(model, trained.dataset, tmp_path / "kmnist", run=run)
    assert not (tmp_path / "kmnist").exists()


def test_a_data_set_without_test_images_is_refused(trained: Run, tmp_path: Path) -> None:
    dataset = replace(trained.dataset, test=trained.dataset.test[:0])
    with pytest.raises(InputError, match="received an empty split"):
        export_model(trained.model, dataset, tmp_path / "kmnist")
