"""A trained model, ``kmnist serve`` for it, and a request of gRPC."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmarks.harness import ROOT, python, run
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import ModelSpec
from kmnist.protocol.prediction import message


def trained_models(scratch: Path) -> Path:
    """Return a folder of versions under ``scratch``; train its version 1 if there is none."""
    models = scratch / "served" / "kmnist"
    if not (models / "1").exists():
        run(python("-m", "kmnist", "train", "--models", str(models)))
    return models


def serve(models: Path) -> Sequence[str]:
    """Return the command that serves ``models`` on free ports."""
    options = ["--grpc-port", "0", "--rest-port", "0", "--json"]
    return python("-m", "kmnist", "serve", "--models", str(models), *options)


@contextmanager
def first_line(command: Sequence[str]) -> Iterator[str]:
    """Run ``command`` in the background; yield its first line of output.

    Raises:
        RuntimeError: It ended without any output.
    """
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{command} did not start: run it to see why")
            yield line.strip()
        finally:
            process.terminate()


@contextmanager
def serving(models: Path) -> Iterator[tuple[str, str]]:
    """Serve ``models``; yield the URLs of gRPC and REST."""
    with first_line(serve(models)) as line:
        urls = json.loads(line)
        yield urls["grpc"], urls["rest"]


def half_plus_two(scratch: Path) -> Path:
    """Save the model of TensorFlow Serving's documentation under ``scratch``; return its folder."""
    import tensorflow as tf

    models = scratch / "half_plus_two"
    signature = tf.function(lambda x: {"y": x / 2 + 2}).get_concrete_function(
        tf.TensorSpec((None,), name="x")
    )
    tf.saved_model.save(tf.Module(), str(models / "1"), signatures=signature)
    return models


def predict_request(images: NDArray[Any]) -> pb.PredictRequest:
    """Return the message that asks for the classes of images."""
    return message(ModelSpec("kmnist"), "", {"images": images})
