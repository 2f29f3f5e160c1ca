"""The examples, run as programs against the embedded server."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

if TYPE_CHECKING:
    from kmnist import Dataset
    from kmnist.server import Server

pytest.importorskip("tensorflow", reason="needs TensorFlow to train a model")

import tensorflow as tf

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples"


@pytest.fixture(scope="module")
def pictures(tiny_dataset: "Dataset", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures of the first five test images, and a text file named as a PNG."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, image in enumerate(tiny_dataset.test.images[:5]):
        large = 255 - np.kron(image, np.ones((4, 4), np.uint8))
        (folder / f"{index}.png").write_bytes(tf.io.encode_png(large[..., None]).numpy())
    (folder / "x.png").write_text("not a picture")
    return folder


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with these environment variables added."""
    return subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, check=False
    )


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **variables}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_gets_status_metadata_and_predictions(served: "Server", pictures: Path) -> None:
    done = run("sh", EXAMPLES / "curl.sh", pictures / "0.png", REST=served.rest_url)
    assert done.returncode == 0, done.stderr + done.stdout
    decoder, text, answers = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].strip()
    status, metadata, rows, columns, black = answers
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    assert "pictures" in metadata["metadata"]["signature_def"]["signature_def"]
    assert rows["predictions"][0]["class_ids"] == columns["outputs"]["class_ids"][0]
    assert len(black["predictions"][0]["probabilities"]) == 10


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_batch_writes_a_line_for_each_picture(
    served: "Server", pictures: Path, transport: str
) -> None:
    url = served.grpc_url if transport == "grpc" else served.rest_url
    done = run(sys.executable, EXAMPLES / "batch.py", pictures, KMNIST_SERVER=url)
    assert done.returncode == 0, done.stderr
    lines = list(csv.DictReader(done.stdout.splitlines()))
    assert [line["picture"] for line in lines] == [*(f"{n}.png" for n in range(5)), "x.png"]
    assert all(line["digit"].isdigit() and float(line["probability"]) > 0 for line in lines[:5])
    assert not lines[5]["digit"]
    assert "PNG" in lines[5]["error"]


def test_batch_without_a_folder_prints_its_usage() -> None:
    done = run(sys.executable, EXAMPLES / "batch.py")
    assert done.returncode == 1
    assert done.stderr == "usage: python examples/batch.py FOLDER\n"


@pytest.fixture
def service(served: "Server") -> Iterator[str]:
    """The address of a running service.py."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "service.py"],
        env=environment(KMNIST_SERVER=served.grpc_url, PORT=str(port)),
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_service_classifies_a_picture_and_refuses_other_bytes(service: str, pictures: Path) -> None:
    with urllib.request.urlopen(f"{service}/ready") as answer:
        assert answer.status == 200
    picture = (pictures / "0.png").read_bytes()
    with urllib.request.urlopen(f"{service}/digit", data=picture) as answer:
        found = json.load(answer)
    assert found["digit"].isdigit()
    with pytest.raises(urllib.error.HTTPError) as info:
        urllib.request.urlopen(f"{service}/digit", data=b"not a picture")
    with info.value as refused:
        assert refused.code == 400
        assert "PNG" in json.load(refused)["error"]
