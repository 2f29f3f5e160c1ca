"""The examples, run as programs against the embedded server."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from types import ModuleType
from typing import Final
from unittest.mock import MagicMock

import numpy as np
import pytest
import tensorflow as tf

from kmnist import Dataset, Server, load_dataset

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples"
pytestmark = pytest.mark.slow
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def pictures(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures of the first five test images, and a text file named as a PNG."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, image in enumerate(tiny_dataset.test.images[:5]):
        large = 255 - np.kron(image, np.ones((4, 4), np.uint8))
        (folder / f"{index}.png").write_bytes(tf.io.encode_png(large[..., None]).numpy())
    (folder / "x.png").write_text("not a picture")
    return folder


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_gets_status_metadata_and_predictions(served: Server, pictures: Path) -> None:
    command = ["sh", str(EXAMPLES / "curl.sh"), str(pictures / "0.png")]
    variables = ENVIRONMENT | {"REST": served.rest_url}
    parts = subprocess.check_output(command, env=variables, text=True).split("# ")[1:]
    status, names, rows, columns, array = (part.partition("\n")[2] for part in parts)
    assert json.loads(status)["model_version_status"][0]["state"] == "AVAILABLE"
    assert names.split() == ["classes", "explain", "pictures", "pixels", "serving_default"]
    (row,) = json.loads(rows)["predictions"]
    assert row["class_ids"] == json.loads(columns)["outputs"]["class_ids"][0]
    assert json.loads(array)["predictions"][0]["class_ids"] == 7


def test_the_seven_is_the_first_test_image_of_mnist() -> None:
    seven = load_dataset().test.images[0]
    request = json.loads((EXAMPLES / "seven.json").read_text())
    assert np.array_equal(request["instances"], [seven])


def test_batch_writes_a_line_for_each_picture(served: Server, pictures: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "batch.py"), str(pictures)]
    variables = ENVIRONMENT | {"KMNIST_SERVER": served.grpc_url}
    printed = subprocess.check_output(command, env=variables, text=True)
    lines = list(csv.DictReader(printed.splitlines()))
    assert [line["picture"] for line in lines] == [*(f"{n}.png" for n in range(5)), "x.png"]
    assert all(line["digit"].isdigit() and float(line["probability"]) > 0 for line in lines[:5])
    assert not lines[5]["digit"]
    assert "PNG" in lines[5]["error"]


def test_a_process_of_ray_classifies_paths(
    models: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself is no dependency: the class that it runs is called as Ray calls it."""
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    classifier = run_path(str(EXAMPLES / "ray_batch.py"))["Classifier"](str(models / "1"))
    paths = np.array([str(path) for path in sorted(pictures.iterdir())], object)
    found = classifier({"path": paths})
    assert {len(column) for column in found.values()} == {6}
    assert [bool(error) for error in found["error"]] == [False] * 5 + [True]
    assert all(name.isdigit() for name in found["class_name"][:5])


def test_fit_trains_logs_and_exports(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow = MagicMock()  # which is not installed
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setattr(sys, "argv", ["fit.py", str(tiny)])
    monkeypatch.chdir(tmp_path)
    run_path(str(EXAMPLES / "fit.py"))
    mlflow.keras.autolog.assert_called_once()
    mlflow.set_tag.assert_called_once_with("version", "1")
    assert capsys.readouterr().out.splitlines()[-1] == "models/fit/1"
    assert (tmp_path / "models" / "fit" / "1" / "saved_model.pb").exists()


@pytest.fixture
def service(served: Server) -> Iterator[str]:
    """The address of a running service.py."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    variables = ENVIRONMENT | {"KMNIST_SERVER": served.grpc_url, "PORT": str(port)}
    command = [sys.executable, str(EXAMPLES / "service.py")]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert b"Running on" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def test_service_classifies_a_picture_and_refuses_other_bytes(service: str, pictures: Path) -> None:
    with urllib.request.urlopen(f"{service}/ready") as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{service}/digit", (pictures / "0.png").read_bytes()) as answer:
        assert json.load(answer)["digit"].isdigit()
    with pytest.raises(urllib.error.HTTPError) as info:
        urllib.request.urlopen(f"{service}/digit", data=b"not a picture")
    with info.value as refused:
        assert refused.code == 400
        assert "PNG" in json.load(refused)["error"]


def test_the_network_is_as_accurate_over_the_wire_as_here(
    tiny_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kmnist.load_dataset", lambda name: tiny_dataset, raising=False)
    run_path(str(EXAMPLES / "cnn.py"))
    *_, local, remote = capsys.readouterr().out.splitlines()
    assert local.replace("here:         ", "over the wire:") == remote
