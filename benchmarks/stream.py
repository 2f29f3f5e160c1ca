"""Streams: `kmnist predict … --output …` beside loops without files, and its memory."""

import re
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf

from benchmarks.harness import ROOT, Options, compare, python, run, table
from benchmarks.models import serving, trained_models
from kmnist import Client, load_dataset, predict_stream
from kmnist.data.idx import read_idx
from kmnist.server.local import LocalModel

# As many as a request of predict_stream has, and as many requests as it has under way.
REQUEST: Final = 1000
REQUESTS: Final = 4


def measure(options: Options) -> str:
    """Measure streams from IDX files and folders, and the memory of the command."""
    models = trained_models(options.scratch)
    count = 100_000 if options.quick else 1_000_000
    images = write_images(options.scratch, count)
    rows = [
        _in_process(models, images, count, options),
        _through_server(models, images, options),
        _pictures(models, 200 if options.quick else 2000, options),
        _memory(models, 100_000, count if options.quick else 10_000_000, options),
    ]
    return (
        f"## Stream\n\n`predict_stream` and `kmnist predict FILE --output FILE.csv`; requests "
        f"and batches of {REQUEST:,} images.\n\n{table(rows)}"
    )


def write_images(scratch: Path, count: int) -> Path:
    """Return an IDX file of ``count`` images, those of MNIST again and again."""
    path = scratch / f"{count}.idx"
    if not path.exists():
        images = load_dataset().train.images
        with path.open("wb") as file:
            file.write(struct.pack(">BBBB3I", 0, 0, 8, 3, count, 28, 28))
            for start in range(0, count, len(images)):
                images[: count - start].tofile(file)
    return path


def predict(images: Path, source: Sequence[str], options: Options) -> Sequence[str]:
    """Return the command that predicts a file of images into a new CSV file."""
    output = options.scratch / "stream.csv"
    output.unlink(missing_ok=True)
    return python(
        "-m", "kmnist", "predict", str(images), "--output", str(output), *source, "--json"
    )


def _in_process(models: Path, images: Path, count: int, options: Options) -> Sequence[str]:
    signature = tf.saved_model.load(str(models / "1")).signatures["serving_default"]

    def ours() -> float:
        result = run(predict(images, ("--models", str(models)), options)).result
        return 1 / float(result["images_per_second"])

    def bare() -> float:
        started = time.perf_counter()
        array = read_idx(images, ndim=3)
        for start in range(0, count, REQUEST):
            for tensor in signature(images=array[start : start + REQUEST]).values():
                tensor.numpy()
        return (time.perf_counter() - started) / count

    bare()
    pairs = [(ours(), bare()) for _ in range(options.rounds)]
    mine, theirs = ([seconds * 1e6 for seconds in side] for side in zip(*pairs, strict=True))
    return compare("IDX to CSV, in one process", "µs an image", mine, "a bare loop", theirs)


def _through_server(models: Path, images: Path, options: Options) -> Sequence[str]:
    mine: list[float] = []
    theirs: list[float] = []
    load = ("--images", str(REQUEST), "--concurrency", str(REQUESTS))
    with serving(models) as (url, _):
        for _ in range(options.rounds):
            result = run(predict(images, ("--server", url), options)).result
            mine.append(1e6 / result["images_per_second"])
            command = python("-m", "kmnist", "bench", *load, "--server", url, "--json")
            (result,) = run(command).result["results"]
            theirs.append(1e6 / result["images_per_second"])
    return compare(
        "IDX to CSV, through `kmnist serve`", "µs an image", mine, "`kmnist bench`", theirs
    )


def _pictures(models: Path, count: int, options: Options) -> Sequence[str]:
    folder = options.scratch / f"pictures-{count}"
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(load_dataset().test.images[:count]):
        large = 255 - np.kron(image, np.ones((10, 10), np.uint8))
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(large[..., None]).numpy())
    with Client(transport=LocalModel(models)) as client:

        def ours() -> None:
            for _ in predict_stream(sorted(folder.iterdir()), client):
                pass

        def one_by_one() -> None:
            for path in sorted(folder.iterdir()):
                client.predict_pictures(path)

        pairs = [(_seconds(ours), _seconds(one_by_one)) for _ in range(options.rounds + 1)][1:]
    mine, theirs = (
        [seconds / count * 1e3 for seconds in side] for side in zip(*pairs, strict=True)
    )
    what = "a folder of PNG files of 280×280, in this process"
    return compare(what, "ms a picture", mine, "one after the other", theirs)


def _memory(models: Path, few: int, many: int, options: Options) -> Sequence[str]:
    def megabytes(count: int) -> float:
        images = write_images(options.scratch, count)
        process = subprocess.Popen(
            predict(images, ("--models", str(models)), options),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = 0
        while process.poll() is None:
            # Without the pages of the file, which is memory-mapped.
            found = re.search(r"RssAnon:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(found[1]) if found else 0)
            time.sleep(0.02)
        if process.returncode:
            raise RuntimeError(f"kmnist predict ended with exit code {process.returncode}")
        return peak * 1024 / 1e6

    return compare(
        f"memory of the command with {many:,} images",
        "MB",
        [megabytes(many)],
        f"with {few:,}",
        [megabytes(few)],
    )


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
