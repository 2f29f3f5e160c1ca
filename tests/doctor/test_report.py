"""What a folder and a server have in common: causes of failed loads, and signatures."""

import pytest

from kmnist.doctor.report import compare_signatures, load_failure
from kmnist.protocol.messages import Signature, TensorSpec


@pytest.mark.parametrize(
    ("message", "cause", "cure"),
    [
        ("Op type not registered 'NewOp' in binary", "newer TensorFlow", "run a newer server"),
        ("NodeDef mentions attr 'a' not in Op<name=MatMul>", "newer TensorFlow", "newer server"),
        ("GraphDef producer version 27 below min", "newer TensorFlow", "run a newer server"),
        ("Failed to process warmup: Invalid argument", "warm-up", "assets.extra"),
        ("Could not find SavedModel .pb or .pbtxt", "missing or cut off", "mv is atomic"),
        ("Could not find meta graph def matching supplied tags", "tag serve", "for serving"),
        ("OUT_OF_RANGE: Read less bytes than requested", "missing or cut off", "copy it again"),
        ("/models/kmnist/2/saved_model.pb; Permission denied", "may not read", "chmod"),
        ("OOM when allocating tensor", "not enough memory", "kmnist versions prune"),
        ("something else", "TensorFlow cannot load it", "log"),
    ],
)
def test_messages_of_tensorflow_serving_are_explained(message: str, cause: str, cure: str) -> None:
    finding = load_failure("version 2", message)
    assert finding.what == f"version 2 cannot be loaded: {message}"
    assert cause in finding.cause
    assert cure in finding.cure


def signature(width: int = 28) -> Signature:
    """A signature that takes images and has one output."""
    return Signature(
        {"images": TensorSpec("DT_UINT8", (None, width, width))},
        {"class_ids": TensorSpec("DT_INT64", (None,))},
    )


@pytest.mark.parametrize(
    ("old", "difference"),
    [
        ({}, "it has no signature serving_default"),
        (
            {"serving_default": signature(), "pixels": signature()},
            "version 3 has no signature pixels",
        ),
        (
            {"serving_default": signature(32)},
            "serving_default has the inputs images: uint8 (n, 32, 32), not images: uint8 (n, 28, 28)",
        ),
    ],
)
def test_each_version_that_differs_from_the_newest_is_a_finding(
    old: dict[str, Signature], difference: str
) -> None:
    new = {"serving_default": signature()}
    (finding,) = compare_signatures({1: old, 2: new, 3: new})
    assert finding.what == f"version 1 differs from version 3: {difference}"
