"""``kmnist predict``: pictures and files of images, tables and files, runs that do not finish."""

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

from kmnist import Dataset
from kmnist.cli import main
from kmnist.data.idx import write_idx
from kmnist.server import Server
from tests.server.served_models import save_digits

# Names that need care in CSV and JSON; the last one is not UTF-8.
NAMES: Final = ('a,"b".png', "c\nd.PNG", os.fsdecode(b"\xff.png"))


@pytest.fixture(scope="module")
def folder(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PNG files of three test images, dark ink on light paper; one is in a folder of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for index, name in enumerate(("[0].png", "1.png", "more/2.png")):
        large = 255 - np.kron(tiny_dataset.test.images[index], np.ones((4, 4), np.uint8))
        (folder / name).write_bytes(tf.io.encode_png(large[..., None]).numpy())
    return folder


@pytest.fixture
def images(tiny_dataset: Dataset, tmp_path: Path) -> Path:
    """An IDX file of 20,000 images."""
    path = tmp_path / "images.idx"
    write_idx(path, np.concatenate([tiny_dataset.test.images] * 100))
    return path


def predict(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)], **options)


def rows(path: Path) -> list[dict[str, str]]:
    lines = path.read_text("utf-8", "surrogateescape").split("\n")
    return list(csv.DictReader(lines[:-1]))


@pytest.fixture(params=["grpc", "rest", "folder"])
def source(
    request: pytest.FixtureRequest, served: Server, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, object]:
    """The option that selects the server or the folder; the environment has others."""
    monkeypatch.setenv("KMNIST_SERVER", "grpc://nowhere:1")
    monkeypatch.setenv("KMNIST_MODELS", "/nowhere")
    return {
        "grpc": ("--server", served.grpc_url),
        "rest": ("--server", served.rest_url),
        "folder": ("--models", served.base),
    }[request.param]


def test_pictures_folders_and_standard_input_are_rows_of_a_table(
    source: tuple[str, object], folder: Path
) -> None:
    content = (folder / "1.png").read_bytes()
    done = predict(folder / "more", folder / "[0].png", "-", *source, input=content)
    assert done.exit_code == 0, done.stderr
    header, *found = done.stdout.splitlines()
    assert header.split() == ["picture", "class", "confidence"]
    names = [row.split()[0] for row in found]
    assert names == [str(folder / "more/2.png"), str(folder / "[0].png"), "-"]
    assert all("%" in row and "█" in row for row in found)


def test_json_has_every_probability(served: Server, folder: Path) -> None:
    done = predict(folder, "--server", served.grpc_url, "--json")
    predictions = json.loads(done.stdout)["predictions"]
    assert [Path(each["picture"]).name for each in predictions] == ["1.png", "[0].png", "2.png"]
    for each in predictions:
        assert each["class_name"] == str(each["class_id"])
        assert each["probability"] == pytest.approx(max(each["probabilities"]), abs=1e-6)


def test_a_random_image_is_drawn_with_its_label(
    served: Server, tiny: Path, tiny_dataset: Dataset
) -> None:
    command = ("--random", "--dataset", tiny, "--server", served.rest_url)
    *drawing, image, label, prediction = predict(*command).stdout.splitlines()
    assert "██" in "".join(drawing)
    assert [line.split()[0] for line in (image, label, prediction)] == [
        "test",
        "label",
        "prediction",
    ]
    output = json.loads(predict(*command, "--json").stdout)
    assert output["label"] == str(tiny_dataset.test.labels[output["index"]])


def test_a_server_and_a_folder_write_the_same_rows(
    source: tuple[str, object], tiny: Path, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    output = tmp_path / "a.csv"
    done = predict(tiny / "t10k-images-idx3-ubyte.gz", "--output", output, *source)
    assert done.stdout.startswith(f"wrote {output}: 200 images; ")
    found = rows(output)
    assert [row["input"] for row in found] == [str(index) for index in range(200)]
    found_labels = np.array([int(row["class_id"]) for row in found])
    assert np.mean(found_labels == tiny_dataset.test.labels) > 0.7
    assert os.listdir(tmp_path) == ["a.csv"]


def test_an_npz_file_becomes_json_lines_on_stdout(
    served: Server, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", images=tiny_dataset.test.images[:3], labels=np.zeros(3))
    done = predict(tmp_path / "a.npz", "--output", "-", "--server", served.grpc_url)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["input"] for row in found] == [0, 1, 2]
    assert set(found[0]) == {"input", "class_id", "class_name", "probability"}


def test_other_arrays_have_the_same_rows(
    served: Server, tiny: Path, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    images, server = tiny_dataset.test.images, ("--server", served.grpc_url, "--output", "-")
    np.savez(tmp_path / "a.npz", x_train=images[:1], x_test=images)
    np.save(tmp_path / "a.npy", images)
    expected = predict(tiny, *server).stdout  # a folder of IDX files
    assert expected.count("\n") == len(images)
    for name in ("a.npz", "a.npy"):
        assert predict(tmp_path / name, *server).stdout == expected
    np.save(tmp_path / "b.npy", images[:, 1:])
    refused = predict(tmp_path / "b.npy", "--models", served.base)
    assert f"model '{served.base.name}' expects uint8 (n, 28, 28), not" in refused.stderr


def test_a_broken_picture_has_a_row_with_the_reason(
    served: Server, folder: Path, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(folder, pictures)
    for name in NAMES:
        (pictures / name).write_text("none")
    paths = [os.path.join(pictures, name) for name in NAMES]
    options = ("--server", served.grpc_url, "--output")
    done = predict(pictures, *options, tmp_path / "a.csv")
    assert "6 images, 3 of them broken" in done.stdout
    broken = [row for row in rows(tmp_path / "a.csv") if row["error"]]
    assert {row["input"] for row in broken} == {path.replace("\n", "\\n") for path in paths}
    assert all("Picture" in row["error"] and not row["class_id"] for row in broken)
    listed = b"".join(os.fsencode(path) + b"\n" for path in (paths[0], paths[2]))
    predict("-", *options, tmp_path / "a.jsonl", input=listed)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["input"] for row in lines] == [paths[0], paths[2]]
    named = predict(paths[0], *options[:2])
    assert named.exit_code == 2
    assert named.stderr.startswith(f"Error: {paths[0]}: ")


def start(images: Path, output: Path, server: Server, *options: str) -> subprocess.Popen[str]:
    """Start a run that resumes, and wait until it has written more."""
    partial = output.with_name(f"{output.name}.v1.partial")
    before = partial.stat().st_size if partial.exists() else 0
    command = ["predict", images, "--output", output, "--resume", "--server", server.grpc_url]
    process = subprocess.Popen(
        [sys.executable, "-m", "kmnist", *map(str, command), *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (partial.exists() and partial.stat().st_size > before):
        time.sleep(0.001)
    return process


def test_an_interrupted_or_killed_run_is_continued(
    served: Server, images: Path, folder: Path, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole.csv", tmp_path / "a.csv"
    server = ("--server", served.grpc_url)
    predict(images, *server, "--output", whole)
    assert len(rows(whole)) == 20_000

    for number in (signal.SIGINT, signal.SIGTERM):
        with start(images, output, served) as run:
            run.send_signal(number)
            assert run.communicate()[1] == "Error: interrupted; continue with --resume\n"
        assert run.returncode == 130
    with start(images, output, served) as run:
        run.kill()
    assert run.returncode == -signal.SIGKILL

    partial = tmp_path / "a.csv.v1.partial"
    refused = predict(images, *server, "--output", output)
    assert (refused.exit_code, "continue it with --resume" in refused.stderr) == (2, True)
    refused = predict(folder, *server, "--output", output, "--resume")
    assert (refused.exit_code, "is of another image" in refused.stderr) == (2, True)
    partial.rename(tmp_path / "a.csv.v2.partial")
    refused = predict(images, *server, "--output", output, "--resume")
    assert (refused.exit_code, "the version in its name" in refused.stderr) == (2, True)
    (tmp_path / "a.csv.v2.partial").rename(partial)

    with partial.open("ab") as file:
        file.write(b"half a r")
    done = predict(images, *server, "--output", output, "--resume", "--json")
    assert json.loads(done.stdout)["resumed_from"] > 0
    assert output.read_bytes() == whole.read_bytes()
    refused = predict(images, *server, "--output", output, "--resume")
    assert (refused.exit_code, "a.csv exists" in refused.stderr) == (2, True)


@pytest.mark.slow
def test_a_server_may_restart_but_not_stay_away(images: Path, tmp_path: Path) -> None:
    output, base = tmp_path / "a.jsonl", tmp_path / "kmnist"
    base.mkdir()
    save_digits(base, 1)
    with Server(base, grpc_port=0, rest_port=0, grace=0) as first:
        run = start(images, output, first, "--timeout", "1")
    with run:
        assert "Connection refused" in (stderr := run.communicate()[1])
    assert run.returncode == 1
    assert stderr.endswith("; continue with --resume\n")
    port = int(first.grpc_url.rpartition(":")[2])
    with Server(base, grpc_port=port, rest_port=0, grace=0) as second:
        run = start(images, output, second)
    with Server(base, grpc_port=port, rest_port=0), run:
        assert run.wait() == 0
    found = [json.loads(line)["input"] for line in output.read_text().splitlines()]
    assert found == list(range(20_000))


def test_a_full_disk_is_one_line_with_the_way_to_go_on(
    served: Server, images: Path, tmp_path: Path
) -> None:
    command = ["predict", images, "--output", tmp_path / "a.csv", "--server", served.grpc_url]
    limited = f"ulimit -f 100; exec {sys.executable} -m kmnist {shlex.join(map(str, command))}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: [Errno 27] File too large; continue with --resume\n"
    assert predict(*command[1:], "--resume").exit_code == 0
    assert len(rows(tmp_path / "a.csv")) == 20_000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "give either pictures or --random"),
        (". --random", 2, "give either pictures or --random"),
        (". --resume", 2, "--resume needs --output"),
        ("no-such.png", 2, "'no-such.png' does not exist"),
        ("empty", 2, "empty has no pictures"),
        ("a.npz", 2, "a.npz does not hold one array of images"),
        ("b.npy", 2, "b.npy holds float64 (3,): images must be uint8 (n, h, w)"),
        ("seven.idx --output a.txt", 2, "must end in .csv or .jsonl"),
        ("seven.idx --output no/a.csv", 2, "in an existing folder"),
        ("empty --output /proc/a.csv", 1, "cannot write the output to /proc: "),
        ("seven.idx --output a.csv --server grpc://127.0.0.1:1", 1, "Connection refused"),
        ("--random --server localhost", 2, "without a scheme"),
        ("--random --models no/such", 2, "no version in no/such"),
        ("--random --models a --server b", 2, "--models and --server"),
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(
    arguments: str, code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.npz").write_text("none")
    np.save(tmp_path / "b.npy", np.zeros(3))
    write_idx(tmp_path / "seven.idx", np.zeros((1, 28, 28), np.uint8))
    monkeypatch.chdir(tmp_path)
    done = predict(*arguments.split())
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(os.listdir()) == ["a.npz", "b.npy", "empty", "seven.idx"]
