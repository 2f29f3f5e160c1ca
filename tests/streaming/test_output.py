"""Outputs: their formats, and runs that are killed and go on."""

import csv
import errno
import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import Client, Predictions
from kmnist.data.idx import write_idx
from kmnist.errors import InputError, KmnistError
from kmnist.streaming.output import is_complete, open_output
from kmnist.streaming.sources import SourceLike, open_source
from kmnist.streaming.stream import Batch, predict_source

SUFFIXES: Final = (".csv", ".jsonl", ".parquet")

# Predict a file slowly, and record the progress after each batch.
SLOW: Final = """
import sys, time
from pathlib import Path
import numpy as np
from kmnist.client import Client, Predictions
from kmnist.client.testing import FakeTransport
from kmnist.streaming.output import open_output
from kmnist.streaming.sources import open_source
from kmnist.streaming.stream import Batch, predict_source

def answer(values):
    time.sleep(0.02)
    return np.eye(10)[values[:, 0, 0] % 10]

with (
    Client(transport=FakeTransport(answer)) as client,
    open_source(sys.argv[1]) as images,
    open_output(Path(sys.argv[2]), has_paths=False, resume=True) as output,
):
    output.start(images, 1)
    for batch in predict_source(images, client):
        output.write(batch)
        output.record()
"""


def predict(
    source: SourceLike, path: Path, client: Client, *, version: int = 1, **options: bool
) -> None:
    """Predict all images of a source into a file."""
    with (
        open_source(source) as images,
        open_output(path, has_paths=images.folder is not None, **options) as output,
    ):
        output.start(images, version)
        for batch in predict_source(images, client):
            output.write(batch)
        output.complete()


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet")
    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_image_has_a_line(
    suffix: str, images: NDArray[np.uint8], client: Client, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    predict(images, path, client)
    found = rows(path)
    assert [int(row["input"]) for row in found] == list(range(2500))
    assert [int(row["class_id"]) for row in found] == (images[:, 0, 0] % 10).tolist()
    assert found[3] | {"error": ""} == {
        "input": found[3]["input"],
        "class_id": found[3]["class_id"],
        "class_name": "3",
        "probability": found[3]["probability"],
        "error": "",
    }
    assert {float(row["probability"]) for row in found} == {1.0}
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("first", [0, 1, 99, 998, 999_997, 999_999_998])
def test_a_line_is_what_a_plain_formatter_writes(suffix: str, first: int, tmp_path: Path) -> None:
    class_ids = np.array([3, 0, 1, 0])
    probabilities = np.zeros((4, 4), np.float32)
    probabilities[range(4), class_ids] = chosen = np.array(
        [1, 0.5, 0.0123456, 0.9999996], np.float32
    )
    names = np.array(["zero", 'a "quoted", one', "ü", "three"])[class_ids]
    batch = Batch(range(first, first + 4), Predictions(class_ids, names, probabilities), {}, "")
    path = tmp_path / f"out{suffix}"
    with open_output(path, has_paths=False) as output:
        output.write(batch)
        output.complete()
    lines = path.read_text(encoding="utf-8").splitlines()
    for line, index, class_id, name, probability in zip(
        lines, batch.inputs, class_ids, names, chosen, strict=True
    ):
        quoted = '"a ""quoted"", one"' if "quoted" in name else name
        assert line == (
            f"{index},{class_id},{quoted},{probability:.6f},"
            if suffix == ".csv"
            else f'{{"input": {index}, "class_id": {class_id}, "class_name": {json.dumps(name)}, '
            f'"probability": {probability:.6f}}}'
        )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_images_are_a_complete_output(suffix: str, client: Client, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    predict([], path, client)
    assert rows(path) == []
    assert is_complete(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_broken_picture_has_a_line_with_the_reason(
    suffix: str, client: Client, folder: Path, tmp_path: Path
) -> None:
    names = ['a,"b"\n.png', os.fsdecode(b"\xff.png"), "한.png"]
    for name in names:
        (folder / name).write_text("no such")
    path = tmp_path / f"a{suffix}"
    predict(folder, path, client)
    found = rows(path)
    broken = {row["input"]: row for row in found if row.get("error")}
    if suffix == ".parquet":
        names[1] = "�.png"
    assert sorted(broken) == sorted(names)
    for row in broken.values():
        assert row["error"] == "Picture 0: expected a picture"
        assert not row.get("class_name")
        assert not row.get("class_id")
    assert [row["class_name"] for row in found if not row.get("error")] == ["3", "5", "7", "1"]


@pytest.mark.parametrize(("suffix", "kills"), [(".csv", 10), (".parquet", 3)])
def test_a_run_that_is_killed_again_and_again_writes_the_same_bytes(
    suffix: str, kills: int, images: NDArray[np.uint8], client: Client, tmp_path: Path
) -> None:
    source = tmp_path / "a.idx"
    write_idx(source, np.concatenate([images] * 48))
    whole, killed = tmp_path / f"whole{suffix}", tmp_path / f"killed{suffix}"
    predict(source, whole, client)
    starts = [0]
    for _ in range(kills):
        with subprocess.Popen([sys.executable, "-c", SLOW, str(source), str(killed)]) as run:
            while written(killed) == starts[-1] and run.poll() is None:
                time.sleep(0.002)
            time.sleep(random.uniform(0, 0.03))
            run.kill()
        starts.append(written(killed))
    assert starts == sorted(set(starts))  # each went on
    predict(source, killed, client, resume=True)
    assert killed.read_bytes() == whole.read_bytes()
    assert is_complete(killed)


def written(path: Path) -> int:
    """Return how many images the journal records."""
    journal = path.with_name(f"{path.name}.journal")
    return int(json.loads(journal.read_bytes())["rows"]) if journal.exists() else 0


def stop_after(path: Path, source: SourceLike, client: Client, count: int) -> None:
    """Write the first batches, and fail."""
    with (
        suppress(ZeroDivisionError),
        open_source(source) as images,
        open_output(path, has_paths=images.folder is not None) as output,
    ):
        output.start(images, 1)
        for number, batch in enumerate(predict_source(images, client)):
            if number == count:
                raise ZeroDivisionError
            output.write(batch)


def test_an_output_that_exists_is_replaced_only_on_request(
    images: NDArray[np.uint8], client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists; expected a new file"):
        predict(images, path, client)
    assert path.read_text() == "mine"
    predict(images, path, client, overwrite=True)
    assert len(rows(path)) == 2500


def test_a_run_that_did_not_end_is_continued_or_discarded_only_on_request(
    images: NDArray[np.uint8], client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    stop_after(path, images, client, 2)
    assert not path.exists()
    with pytest.raises(InputError, match="is left of a run that did not end"):
        predict(images, path, client)
    predict(images[:100], path, client, overwrite=True)
    assert len(rows(path)) == 100


def test_a_run_that_wrote_nothing_leaves_nothing(
    images: NDArray[np.uint8], client: Client, tmp_path: Path
) -> None:
    stop_after(tmp_path / "a.csv", images, client, 0)
    assert os.listdir(tmp_path) == []


def test_another_input_or_version_is_not_continued(
    client: Client, tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    path, source = tmp_path / "a.csv", tmp_path / "a.idx"
    write_idx(source, images)
    stop_after(path, source, client, 1)
    with pytest.raises(InputError, match="version 1, but version 2 answers"):
        predict(source, path, client, resume=True, version=2)
    os.utime(source, (0, 0))
    with pytest.raises(InputError, match=r"first 1,000 images .* another input, or it was changed"):
        predict(source, path, client, resume=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pictures_go_on_where_a_run_ended(suffix: str, client: Client, tmp_path: Path) -> None:
    folder, path, whole = tmp_path / "a", tmp_path / f"a{suffix}", tmp_path / f"whole{suffix}"
    folder.mkdir()
    for number in range(100):
        content = "no such" if number % 9 == 5 else str(number % 10)
        (folder / f"{number:03}.png").write_text(content)
    names = [str(each) for each in sorted(folder.iterdir())]
    for source in (folder, names):
        predict(source, whole, client, overwrite=True)
        stop_after(path, source, client, 2)
        predict(source, path, client, resume=True)
        assert path.read_bytes() == whole.read_bytes()
        assert [bool(row.get("error")) for row in rows(path)].count(True) == 11
        path.unlink()
    stop_after(path, folder, client, 2)
    (folder / "0000.png").write_text("a name before those that are written")
    with pytest.raises(InputError, match="another input, or it was changed"):
        predict(folder, path, client, resume=True)


def test_a_journal_that_does_not_fit_is_refused(
    client: Client, tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.csv"
    stop_after(path, images, client, 1)
    os.truncate(tmp_path / "a.csv.partial", 100)
    with pytest.raises(InputError, match="shorter than it records"):
        predict(images, path, client, resume=True)
    (tmp_path / "a.csv.journal").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        predict(images, path, client, resume=True)


def test_two_runs_do_not_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with (
        open_output(path, has_paths=False),
        pytest.raises(InputError, match="another process is writing"),
        open_output(path, has_paths=False, resume=True),
    ):
        pass


def test_a_full_disk_keeps_what_was_written(
    images: NDArray[np.uint8], client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = tmp_path / "a.csv", tmp_path / "whole.csv"
    predict(images, whole, client)
    left = 20_000

    def write(handle: int, data: memoryview) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os_write(handle, data[:left])
        left -= written
        return written

    os_write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(KmnistError, match=f"cannot write {path}: No space left"):
            predict(images, path, client)
    predict(images, path, client, resume=True)
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", r"expected a name in \.csv, \.jsonl, \.parquet"),
        ("no/a.csv", "there is no folder"),
    ],
)
def test_an_output_that_cannot_be_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message), open_output(tmp_path / name, has_paths=False):
        pass


def test_parquet_without_pyarrow_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(InputError, match="needs pyarrow; install it with pip install pyarrow"),
        open_output(tmp_path / "a.parquet", has_paths=False),
    ):
        pass
    assert os.listdir(tmp_path) == []
