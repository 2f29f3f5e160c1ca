"""benchmarks.harness: figures and ratios; no timings."""

import pytest

from benchmarks import harness


def test_a_spread_is_the_median_with_the_smallest_and_the_largest() -> None:
    assert harness.spread([0.5, 0.25, 1.0]) == "0.5 (0.25–1)"
    assert harness.spread([1234.5, 1234.5], ",.0f") == "1,234"


def test_a_ratio_is_taken_round_by_round() -> None:
    *_, ratio = harness.compare("an epoch", "s", [1, 2, 4], "NumPy", [2, 4, 8])
    assert ratio == "2"
    row = harness.compare("an epoch", "s", [1, 2], "NumPy", [3, 2])
    assert row == ("an epoch", "1.5 (1–2) s", "NumPy", "2.5 (2–3) s", "2 (1–3)")


@pytest.mark.parametrize("accuracy", [0.5, 0.95, float("nan")])
def test_an_accuracy_out_of_range_is_an_error(accuracy: float) -> None:
    assert harness.check_accuracy(0.92, 0.91, 0.93, "softmax") == 0.92
    with pytest.raises(
        RuntimeError, match=r"softmax has an accuracy of .*, outside of 0\.91 to 0\.93"
    ):
        harness.check_accuracy(accuracy, 0.91, 0.93, "softmax")
