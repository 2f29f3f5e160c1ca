"""What a folder and a server have in common: causes of failed loads."""

import pytest

from kmnist.doctor.report import load_failure


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
