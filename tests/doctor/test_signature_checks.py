"""The comparison of the signatures of all versions."""

from kmnist.doctor.signature_checks import compare_signatures
from kmnist.protocol.messages import Signature, TensorSpec


def signature(width: int = 28) -> Signature:
    """A signature that takes images and has one output."""
    return Signature(
        {"images": TensorSpec("DT_UINT8", (None, width, width))},
        {"class_ids": TensorSpec("DT_INT64", (None,))},
    )


def test_no_version_and_equal_versions_are_in_order() -> None:
    assert list(compare_signatures({})) == []
    assert list(compare_signatures({n: {"serving_default": signature()} for n in (1, 2)})) == []


def test_a_missing_signature_is_reported_for_each_version_that_lacks_it() -> None:
    old = {"serving_default": signature()}
    new = {"serving_default": signature(), "pixels": signature()}
    findings = list(compare_signatures({1: old, 2: old, 3: new}))
    assert [finding.what for finding in findings] == [
        "version 1 differs from version 3: it has no signature pixels",
        "version 2 differs from version 3: it has no signature pixels",
    ]
    (finding,) = compare_signatures({1: new, 2: old})
    assert finding.what == "version 1 differs from version 2: version 2 has no signature pixels"
    assert finding.why
    assert "kmnist versions prune" in finding.do


def test_a_different_shape_is_reported() -> None:
    (finding,) = compare_signatures(
        {1: {"serving_default": signature()}, 2: {"serving_default": signature(32)}}
    )
    assert finding.what == (
        "version 1 differs from version 2: serving_default has the inputs "
        "images: uint8 (n, 28, 28), not images: uint8 (n, 32, 32)"
    )


def test_a_newest_version_without_a_default_signature_gets_a_warning() -> None:
    (finding,) = compare_signatures({1: {"classify": signature()}})
    assert finding.what == "version 1 has no signature serving_default, only: classify"
    assert not finding.is_problem
