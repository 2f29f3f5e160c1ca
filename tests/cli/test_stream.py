"""``kmnist predict --input … --output …``, and what it says about a run that did not end."""

import csv
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from kmnist import Dataset
from kmnist.cli import main
from kmnist.cli._progress import PredictionProgress
from kmnist.client import Client
from kmnist.data.idx import write_idx
from kmnist.server import Server
from kmnist.streaming import stream
from kmnist.streaming.output import Output


@pytest.fixture(scope="module")
def folder(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 PNG files of test images, and one that is broken."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, image in enumerate(tiny_dataset.test.images[:40]):
        picture = tf.io.encode_png((255 - image)[..., None]).numpy()
        (folder / f"{index:02}.png").write_bytes(picture)
    (folder / "33-broken.png").write_text("no such")
    return folder


@pytest.fixture
def source(tiny_dataset: Dataset, tmp_path: Path) -> Path:
    """An IDX file of 20,000 images."""
    path = tmp_path / "a.idx"
    write_idx(path, np.concatenate([tiny_dataset.test.images] * 100))
    return path


def predict(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)], **options)


def lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_server_and_a_folder_write_the_same(served: Server, tiny: Path, tmp_path: Path) -> None:
    images = ("--input", tiny / "t10k-images-idx3-ubyte.gz")
    sources = {
        "grpc": ("--server", f"{served.grpc_url},127.0.0.1:1"),  # the second one is skipped
        "http": ("--server", served.rest_url, "--label", "stable"),
        "folder": ("--models", served.base),
    }
    for name, options in sources.items():
        done = predict(*images, "--output", tmp_path / f"{name}.csv", *options)
        assert done.exit_code == 0, done.stderr
        assert done.stdout.startswith(f"wrote {tmp_path / name}.csv: 200 images; ")
    outputs = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(outputs) == 1
    (output,) = outputs
    assert len(output.splitlines()) == 201


def test_pictures_by_name_and_by_the_lines_of_standard_input(
    served: Server, folder: Path, tmp_path: Path, tiny_dataset: Dataset
) -> None:
    by_name, by_line = tmp_path / "name.csv", tmp_path / "line.csv"
    server = ("--server", served.grpc_url)
    done = predict("--input", folder, "--output", by_name, *server, "--json")
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert (result["images"], result["broken"], result["version"]) == (41, 1, 1)
    names = [path.name for path in sorted(folder.iterdir())]
    assert [line["input"] for line in lines(by_name)] == names
    broken = lines(by_name)[names.index("33-broken.png")]
    assert "Picture 0, 7 bytes" in broken["error"]
    paths = "".join(f"{folder / name}\n" for name in names)
    done = predict("--input", "-", "--output", by_line, *server, input=paths)
    assert "41 images, 1 of them broken" in done.stdout
    for one, other in zip(lines(by_name), lines(by_line), strict=True):
        assert one | {"input": str(folder / one["input"])} == other


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Ctrl-C after the third batch."""
    write = Output.write

    def write_three(output: Output, batch: stream.Batch) -> None:
        write(output, batch)
        if output.progress.rows >= 3000:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Output, "write", write_three)
        yield patch


def test_an_interrupted_run_goes_on(
    served: Server, source: Path, tiny: Path, tmp_path: Path, interrupted: pytest.MonkeyPatch
) -> None:
    output, whole = tmp_path / "a.csv", tmp_path / "whole.csv"
    command = ("--input", source, "--server", served.grpc_url, "--output")
    done = predict(*command, output)
    assert done.exit_code == 130
    assert done.stderr == ("Error: interrupted; 3,000 images are written; continue with --resume\n")
    interrupted.undo()
    refused = predict(*command, output)
    assert refused.exit_code == 2
    assert "is left of a run that did not end; resume or overwrite it" in refused.stderr
    other = predict("--input", tiny / "t10k-images-idx3-ubyte.gz", *command[2:], output, "--resume")
    assert other.exit_code == 2
    assert other.stderr.endswith("start again and overwrite the output\n")
    done = predict(*command, output, "--resume", "--json")
    assert json.loads(done.stdout)["resumed_from"] == 3000
    predict(*command, whole)
    assert output.read_bytes() == whole.read_bytes()
    again = predict(*command, output, "--resume")
    assert (again.exit_code, again.stdout) == (0, f"{output} is complete already\n")
    assert predict(*command, output).exit_code == 2
    assert predict(*command, output, "--overwrite").exit_code == 0


def test_a_server_that_comes_back_in_the_middle_loses_nothing(
    served: Server, models: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / models.name
    shutil.copytree(models, base)
    first = Server(base, grpc_port=0, rest_port=0, grace=0)
    first.start()
    port = int(first.grpc_url.rpartition(":")[2])
    back: list[Server] = []

    def restart() -> None:
        first.stop()
        back.append(Server(base, grpc_port=port, rest_port=0))
        back[0].start()

    restarting, first_request = threading.Thread(target=restart), threading.Lock()
    ask = Client.predict

    def predict_and_restart(self: Client, images: NDArray[np.uint8]) -> Any:
        if first_request.acquire(blocking=False):
            restarting.start()
        return ask(self, images)

    monkeypatch.setattr(Client, "predict", predict_and_restart)
    output, whole = tmp_path / "a.csv", tmp_path / "whole.csv"
    try:
        done = predict("--input", source, "--output", output, "--server", first.grpc_url)
    finally:
        restarting.join()
        for server in back:
            server.stop()
    assert done.exit_code == 0, done.stderr
    monkeypatch.undo()
    predict("--input", source, "--output", whole, "--server", served.grpc_url)
    assert output.read_bytes() == whole.read_bytes()


def test_a_server_that_stays_away_leaves_a_run_that_can_go_on(
    served: Server, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Client.predict
    answered: list[object] = []

    def die(self: Client, images: NDArray[np.uint8]) -> Any:
        answered.append(images)
        if len(answered) > 3:
            self = Client("grpc://127.0.0.1:1", timeout=0.1)
        return ask(self, images)

    output = tmp_path / "a.csv"
    command = ("--input", source, "--output", output, "--server", served.grpc_url)
    with monkeypatch.context() as patch:
        patch.setattr(Client, "predict", die)
        done = predict(*command)
    assert done.exit_code == 1
    assert "Connection refused" in done.stderr
    assert "images are written; continue with --resume" in done.stderr
    assert done.stderr.count("\n") == 1
    assert predict(*command, "--resume").exit_code == 0
    assert len(lines(output)) == 20_000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--input a.idx", 2, "expected --input and --output"),
        ("--output a.csv", 2, "expected --input and --output"),
        ("--resume a.png", 2, "expected --input and --output"),
        ("--input a --output a.csv --resume --overwrite", 2, "at most one of --resume and"),
        ("--input a --output a.csv a.png", 2, "neither pictures nor --random"),
        ("--input no-such --output a.csv", 2, "there is no file or folder no-such"),
        ("--input a.idx --output a.txt", 2, "expected a name in .csv, .jsonl, .parquet"),
        ("--input a.idx --output no/a.csv", 2, "there is no folder"),
        ("--input a.idx --output a.csv --server grpc://127.0.0.1:1", 1, "Connection refused"),
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(
    arguments: str, code: int, message: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    done = predict(*arguments.split())
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in source.parent.iterdir()] == ["a.idx"]


def test_the_progress_has_the_speed_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for total, expected in (
        (9000, "3,000 of 9,000 images, 100 images/s, 0:01:00 left\n"),
        (None, "3,000 images, 100 images/s\n"),
    ):
        now[0] = 100.0
        with PredictionProgress(total, 1000, quiet=False) as progress:
            progress.update(2000)
            now[0] += 20
            progress.update(3000)
        assert capsys.readouterr().err == expected
