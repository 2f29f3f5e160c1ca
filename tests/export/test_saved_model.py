"""Export: what a version folder holds, that it answers like the model, and that it is all or nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kmnist import Evaluation, InputError, Run, build_model, evaluate, export_model, train
from kmnist.data import Dataset, Split
from kmnist.errors import ExportError
from kmnist.export import saved_model as export_module
from kmnist.export.signatures import INPUTS
from kmnist.protocol.warmup import read_warmup
from kmnist.versions import list_versions


@pytest.fixture(scope="module")
def signatures(models: Path):
    return tf.saved_model.load(str(models / "1")).signatures


def png(image: np.ndarray) -> bytes:
    return bytes(tf.io.encode_png(image[..., None]).numpy())


def test_the_folder_holds_what_it_should(models: Path) -> None:
    files = {str(path.relative_to(models / "1")) for path in (models / "1").rglob("*")}
    assert {
        "saved_model.pb",
        "variables/variables.index",
        "assets.extra/tf_serving_warmup_requests",
        "model_card.json",
        "training.png",
        "confusion.png",
        "weights.png",
        "samples.png",
    } <= files
    assert sorted(path.name for path in models.iterdir()) == ["1"]
    assert (models.parent / "models.config").exists()


def test_other_users_may_read_it(models: Path) -> None:
    for path in [models / "1", *(models / "1").rglob("*")]:
        wanted = 0o555 if path.is_dir() else 0o444
        assert path.stat().st_mode & wanted == wanted, path


def test_the_three_signatures_are_those_of_the_contract(signatures) -> None:
    for signature in ("serving_default", "pixels", "pictures"):
        name = INPUTS[signature]
        _, inputs = signatures[signature].structured_input_signature
        outputs = signatures[signature].structured_outputs
        assert list(inputs) == [name]
        assert outputs["probabilities"].dtype == tf.float32
        assert outputs["class_ids"].dtype == tf.int64
        assert outputs["class_names"].dtype == tf.string


def test_images_and_pixels_answer_as_the_model(signatures, trained: Run) -> None:
    images = trained.dataset.test.images
    expected = trained.model(images).numpy()
    for answer in (
        signatures["serving_default"](images=tf.constant(images)),
        signatures["pixels"](pixels=tf.constant([image.tobytes() for image in images])),
    ):
        assert np.allclose(answer["probabilities"], expected, atol=1e-6)
        assert np.array_equal(answer["class_ids"], expected.argmax(axis=1))
        names = [name.decode() for name in answer["class_names"].numpy()]
        assert names == [trained.dataset.class_names[index] for index in expected.argmax(axis=1)]


def test_pictures_of_the_images_are_recognised_as_well(signatures, trained: Run) -> None:
    test = trained.dataset.test
    plain = (trained.model(test.images).numpy().argmax(axis=1) == test.labels).mean()
    answer = signatures["pictures"](pictures=tf.constant([png(image) for image in test.images]))
    read = (answer["class_ids"].numpy() == test.labels).mean()
    assert read > plain - 0.06


def test_no_images_are_no_answers(signatures) -> None:
    for inputs in (
        {"images": tf.zeros((0, 28, 28), tf.uint8)},
        {"pixels": tf.constant([], tf.string)},
        {"pictures": tf.constant([], tf.string)},
    ):
        signature = next(key for key, name in INPUTS.items() if name in inputs)
        answer = signatures[signature](**inputs)
        assert answer["probabilities"].shape == (0, 10)
        assert answer["class_names"].shape == (0,)


B64 = {"short": "eHh4", "text": "bm90IGEgcGljdHVyZQ==", "nothing": ""}


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("serving_default", {"images": [[[0] * 28] * 27]}, "[1,27,28]"),
        ("pixels", {"pixels": [{"b64": B64["short"]}]}, "has to be 784 bytes"),
        ("pixels", {"pixels": [[{"b64": B64["short"]}]]}, "[1,1]"),
        ("pictures", {"pictures": [{"b64": B64["text"]}]}, "Picture 0"),
        ("pictures", {"pictures": [{"b64": B64["nothing"]}]}, "Picture 0"),
    ],
)
def test_what_does_not_fit_is_refused_in_the_graph(
    models: Path, signature, inputs, message
) -> None:
    # A server does not hold inputs against a signature's shape; the graph has to.
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from kmnist.server import Server

    body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
    with Server(base=models, rest_port=0, grpc_port=0) as server:
        request = Request(f"{server.rest_url}/v1/models/kmnist:predict", body)
        with pytest.raises(HTTPError) as refusal:
            urlopen(request)
        with refusal.value:
            assert refusal.value.code == 400
            assert message in json.load(refusal.value)["error"]


def test_the_warmup_file_asks_every_signature(models: Path, trained: Run) -> None:
    requests = dict(read_warmup(models / "1"))
    assert list(requests) == list(INPUTS)
    first = trained.dataset.train.images[:1]
    assert np.array_equal(requests["serving_default"]["images"], first)
    assert requests["pixels"]["pixels"].tolist() == [first[0].tobytes()]
    assert requests["pictures"]["pictures"].tolist() == [png(first[0])]


def test_the_warmup_file_is_what_tensorflow_serving_reads(models: Path) -> None:
    logs = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api"
    )
    path = models / "1" / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    requests = [logs.PredictionLog.FromString(record).predict_log.request for record in records]
    assert [request.model_spec.signature_name for request in requests] == list(INPUTS)
    assert {request.model_spec.name for request in requests} == {"kmnist"}
    assert tf.make_ndarray(requests[0].inputs["images"]).shape == (1, 28, 28)


def test_the_card_tells_where_the_version_comes_from(
    models: Path, trained: Run, evaluation: Evaluation
) -> None:
    card = json.loads((models / "1" / "model_card.json").read_text())
    assert card["data"]["splits"] == {"train": 400, "validation": 100, "test": 200}
    assert card["data"]["sha256"] == trained.dataset.checksums()
    assert card["model"]["weights_sha256"] == trained.weights_digest
    assert card["model"]["parameters"] == 7850
    assert card["training"]["epochs"] == 30
    assert card["training"]["seed"] == 0
    assert len(card["training"]["history"]) == 30
    assert card["test"]["accuracy"] == evaluation.accuracy
    assert np.sum(card["test"]["confusion"]) == 200
    assert card["versions"]["tensorflow"] == tf.__version__


def test_the_plots_are_pictures(models: Path) -> None:
    for name in ("training", "confusion", "weights", "samples"):
        picture = tf.io.decode_png((models / "1" / f"{name}.png").read_bytes(), channels=3).numpy()
        assert min(picture.shape[:2]) > 200
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_another_shape_goes_through_to_the_export(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 12, 17), dtype=np.uint8)
    labels = (images.mean(axis=(1, 2)) > 127).astype(np.uint8) + rng.integers(0, 2, 60).astype(
        np.uint8
    )
    split = Split(images, labels)
    dataset = Dataset("noise", split[:40], split[:0], split[40:], ("low", "middle", "high"))
    model = build_model((12, 17), 3)
    run = train(model, dataset, epochs=1)
    folder = export_model(run, evaluate(model, dataset.test), tmp_path / "models" / "noise")
    loaded = tf.saved_model.load(str(folder)).signatures
    expected = model(images).numpy()
    answer = loaded["pixels"](pixels=tf.constant([image.tobytes() for image in images]))
    assert np.allclose(answer["probabilities"], expected, atol=1e-6)
    card = json.loads((folder / "model_card.json").read_text())
    assert card["pictures"].startswith("grey, resized to fit")
    assert card["training"]["history"][0]["validation_accuracy"] is None


def test_the_next_version_is_one_more(
    models: Path, trained: Run, evaluation: Evaluation, tmp_path
) -> None:
    base = tmp_path / "models" / "kmnist"
    shutil.copytree(models / "1", base / "7")
    assert export_model(trained, evaluation, base) == base / "8"


def test_a_model_that_answers_otherwise_is_not_published(
    trained: Run, evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_other_weights(run: Run, folder: Path, extent: float | None):
        other = build_model(seed=5)
        return original(Run(other, run.dataset, (), {}, ""), folder, extent)

    original = export_module._write_saved_model
    monkeypatch.setattr(export_module, "_write_saved_model", write_other_weights)
    with pytest.raises(ExportError, match="serving_default differs from the trained model"):
        export_model(trained, evaluation, tmp_path / "kmnist")
    assert list((tmp_path / "kmnist").iterdir()) == []


def test_a_full_disk_leaves_nothing(
    trained: Run, evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "write_warmup", no_space)
    with pytest.raises(OSError, match="No space left"):
        export_model(trained, evaluation, tmp_path / "kmnist")
    assert list((tmp_path / "kmnist").iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_refused(
    trained: Run, evaluation: Evaluation, tmp_path: Path
) -> None:
    (tmp_path / "kmnist").write_text("")
    with pytest.raises(InputError, match="is a file; expected a folder"):
        export_model(trained, evaluation, tmp_path / "kmnist")


def test_a_killed_export_leaves_no_version_and_is_swept(
    models: Path, trained: Run, evaluation: Evaluation, tiny: Path, tmp_path: Path
) -> None:
    base = tmp_path / "models" / "kmnist"
    arguments = ["--dataset", str(tiny), "--validation-size", "0", "--epochs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kmnist", "train", *arguments, "--output", str(base)],
        stdout=subprocess.DEVNULL,
    )
    while not list(base.glob(".staging-*/*")) and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert list_versions(base) == []
    assert list(base.glob(".staging-*"))
    assert export_model(trained, evaluation, base) == base / "1"
    assert [path.name for path in base.iterdir()] == ["1"]
