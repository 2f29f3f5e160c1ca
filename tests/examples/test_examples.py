"""Each example does what it says, against the embedded server."""

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
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs TensorFlow for the model behind it")

import tensorflow as tf

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def folder(tiny_dataset, tmp_path_factory):
    """Pictures of the first five test images, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, image in enumerate(tiny_dataset.test.images[:5]):
        large = 255 - np.kron(image, np.ones((4, 4), np.uint8))
        (folder / f"{index}.png").write_bytes(tf.io.encode_png(large[..., None]).numpy())
    (folder / "x.png").write_text("no such")
    return folder


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(served, folder) -> None:
    done = subprocess.run(
        ["sh", EXAMPLES / "curl.sh", folder / "0.png"],
        env=environment(REST=served.rest_url),
        capture_output=True,
        text=True,
        check=False,
    )
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
def test_batch(served, folder, transport) -> None:
    url = served.grpc_url if transport == "grpc" else served.rest_url
    done = subprocess.run(
        [sys.executable, EXAMPLES / "batch.py", folder],
        env=environment(KMNIST_SERVER=url),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = list(csv.DictReader(done.stdout.splitlines()))
    assert [line["picture"] for line in lines] == [*(f"{n}.png" for n in range(5)), "x.png"]
    assert all(line["digit"].isdigit() and float(line["probability"]) > 0 for line in lines[:5])
    assert "is no PNG" in lines[5]["error"]


def test_batch_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "batch.py"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "usage: python examples/batch.py FOLDER\n"


@pytest.fixture
def service(served):
    """The address of a running service.py."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "service.py"],
        env=environment(KMNIST_SERVER=served.grpc_url, PORT=str(port)),
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def test_service(service, folder) -> None:
    with urllib.request.urlopen(f"{service}/ready") as answer:
        assert answer.status == 200
    picture = (folder / "0.png").read_bytes()
    with urllib.request.urlopen(f"{service}/digit", data=picture) as answer:
        found = json.load(answer)
    assert found["digit"].isdigit()
    with pytest.raises(urllib.error.HTTPError) as info:
        urllib.request.urlopen(f"{service}/digit", data=b"no such")
    with info.value as refused:
        assert refused.code == 400
        assert "is no PNG" in json.load(refused)["error"]
