"""The examples in docstrings."""

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kmnist
import kmnist.metrics

EXAMPLES = {
    "load_dataset": kmnist.load_dataset,
    "build_model": kmnist.build_model,
    "train": kmnist.train,
    "evaluate": kmnist.evaluate,
    "Evaluation.from_predictions": kmnist.Evaluation.from_predictions,
    "Comparison.from_predictions": kmnist.metrics.Comparison.from_predictions,
    "Dataset.from_arrays": kmnist.Dataset.from_arrays,
    "Split.batches": kmnist.Split.batches,
}


@pytest.mark.parametrize(("name", "function"), EXAMPLES.items(), ids=EXAMPLES)
def test_the_example_of_a_function_runs(
    name: str, function: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").symlink_to(tiny)
    monkeypatch.chdir(tmp_path)
    names = {"np": np, "Comparison": kmnist.metrics.Comparison} | {
        name: getattr(kmnist, name) for name in kmnist.__all__
    }
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=names)
    assert test.examples
    report: list[str] = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)
