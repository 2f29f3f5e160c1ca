"""The examples in docstrings."""

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kmnist
import kmnist.metrics

FUNCTIONS = (
    kmnist.load_dataset,
    kmnist.build_model,
    kmnist.train,
    kmnist.evaluate,
    kmnist.Evaluation.from_predictions,
    kmnist.metrics.Comparison.from_predictions,
    kmnist.Dataset.from_arrays,
    kmnist.Split.batches,
)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_the_example_of_a_function_runs(
    function: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").symlink_to(tiny)
    monkeypatch.chdir(tmp_path)
    names = {name: getattr(kmnist, name) for name in kmnist.__all__}
    names |= {"np": np, "Comparison": kmnist.metrics.Comparison}
    (test,) = doctest.DocTestFinder(recurse=False).find(function, "example", globs=names)
    assert test.examples
    report: list[str] = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)
