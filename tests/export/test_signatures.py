"""The signatures of an exported model: inputs, outputs, and rejection of invalid input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmnist import Run
from kmnist.pictures.limits import MAX_PICTURES
from kmnist.server import Server


def _png(image: NDArray[np.uint8]) -> bytes:
    return bytes(tf.io.encode_png(image[..., None]).numpy())


def test_the_signatures_have_these_inputs_and_outputs(exported: Any) -> None:
    classification = {
        "probabilities": (tf.float32, [None, 10]),
        "class_ids": (tf.int64, [None]),
        "class_names": (tf.string, [None]),
    }
    images = (tf.uint8, [None, 28, 28])
    weights = {"class_names": (tf.string, [None]), "weights": (tf.float32, [None, 28, 28])}
    strings = (tf.string, [None])
    expected = {
        "serving_default": ({"images": images}, classification),
        "pixels": ({"pixels": strings}, classification),
        "pictures": ({"pictures": strings}, classification),
        "explain": ({"pictures": strings}, {**classification, "images": images}),
        "classes": ({"class_ids": (tf.int64, [None])}, weights),
    }

    def described(specs: dict[str, tf.TensorSpec]) -> dict[str, Any]:
        return {name: (spec.dtype, list(spec.shape)) for name, spec in specs.items()}

    actual = {
        name: (
            described(function.structured_input_signature[1]),
            described(function.structured_outputs),
        )
        for name, function in exported.items()
    }
    assert actual == expected


def test_images_and_pixels_get_the_answer_of_the_model(exported: Any, trained: Run) -> None:
    images = trained.dataset.test.images
    expected = trained.model(images).numpy()
    for answer in (
        exported["serving_default"](images=tf.constant(images)),
        exported["pixels"](pixels=tf.constant([image.tobytes() for image in images])),
    ):
        assert np.array_equal(answer["probabilities"], expected)
        assert np.array_equal(answer["class_ids"], expected.argmax(axis=1))
        names = [name.decode() for name in answer["class_names"].numpy()]
        assert names == [trained.dataset.class_names[index] for index in expected.argmax(axis=1)]


def test_pictures_are_classified_about_as_well_as_images(exported: Any, trained: Run) -> None:
    test = trained.dataset.test[:MAX_PICTURES]
    of_images = (trained.model(test.images).numpy().argmax(axis=1) == test.labels).mean()
    answer = exported["pictures"](pictures=tf.constant([_png(image) for image in test.images]))
    of_pictures = (answer["class_ids"].numpy() == test.labels).mean()
    assert of_pictures > of_images - 0.06


def test_the_weights_of_classes_are_those_of_the_pixels(exported: Any, trained: Run) -> None:
    answer = exported["classes"](class_ids=tf.constant([3, 0], tf.int64))
    kernel = trained.model.layers[-1].kernel.numpy()
    assert np.array_equal(answer["weights"][0].numpy().ravel(), kernel[:, 3])
    assert answer["class_names"].numpy().tolist() == [b"3", b"0"]


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("serving_default", {"images": tf.zeros((0, 28, 28), tf.uint8)}),
        ("pixels", {"pixels": tf.constant([], tf.string)}),
        ("pictures", {"pictures": tf.constant([], tf.string)}),
    ],
)
def test_an_empty_input_gets_an_empty_answer(
    exported: Any, signature: str, inputs: dict[str, Any]
) -> None:
    answer = exported[signature](**inputs)
    assert answer["probabilities"].shape == (0, 10)
    assert answer["class_names"].shape == (0,)


_SHORT = {"b64": "eHh4"}
_TEXT = {"b64": "bm90IGEgcGljdHVyZQ=="}
_EMPTY = {"b64": ""}


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("serving_default", {"images": [[[0] * 28] * 27]}, "[1,27,28]"),
        ("pixels", {"pixels": [_SHORT]}, "has to be 784 bytes"),
        ("pixels", {"pixels": [[_SHORT]]}, "[1,1]"),
        ("pictures", {"pictures": [_TEXT]}, "Picture 0"),
        ("pictures", {"pictures": [_EMPTY]}, "Picture 0"),
        ("explain", {"pictures": [_TEXT] * 101}, "Received 101 pictures"),
        ("classes", {"class_ids": [0] * 11}, "Received 11 class ids, larger than maximum input ba"),
    ],
)
def test_the_graph_rejects_invalid_input(
    served: Server, signature: str, inputs: dict[str, Any], message: str
) -> None:
    body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
    with pytest.raises(HTTPError) as caught:
        urlopen(Request(f"{served.rest_url}/v1/models/kmnist:predict", body))
    with caught.value:
        assert caught.value.code == 400
        assert message in json.load(caught.value)["error"]


# Prints, for each signature, the MB that a request of ten million values takes, and its error.
_COST = """
import json, resource, sys
import numpy as np
import tensorflow as tf
from benchmarks.harness import memory

resource.setrlimit(resource.RLIMIT_DATA, (12 * 2**30,) * 2)
HOSTILE = {
    tf.uint8: lambda: np.zeros((100_001, 28, 28), np.uint8),
    tf.string: lambda: np.full(10_000_000, b"", object),
    tf.int64: lambda: np.zeros(10_000_000, np.int64),
}
found = {}
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    model = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1])
    for name in {"serving_default", "pixels", "pictures", "explain", "classes"}:
        signature = model.signature_def[name]
        (feed,) = signature.inputs.values()
        values = HOSTILE[tf.as_dtype(feed.dtype)]()
        open("/proc/self/clear_refs", "w").write("5")  # resets the peak
        before = memory("VmRSS")
        try:
            session.run([each.name for each in signature.outputs.values()], {feed.name: values})
        except tf.errors.InvalidArgumentError as error:
            found[name] = memory("VmHWM") - before, error.message
print(json.dumps(found))
"""


@pytest.mark.slow
def test_a_refused_request_takes_no_more_memory_than_its_tensor(models: Path) -> None:
    command = [sys.executable, "-c", _COST, str(models / "1")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found) == 5
    for megabytes, message in found.values():
        assert "larger than maximum input batch size" in message
        assert megabytes < 300  # ten million strings are 240 MB in TensorFlow
