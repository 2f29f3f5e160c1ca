"""ModelSpec and Outputs."""

import numpy as np

from kmnist.protocol.model_spec import ModelSpec, Outputs


def test_a_model_spec_means_the_latest_version_by_default() -> None:
    assert ModelSpec("kmnist") == ("kmnist", None, None)


def test_a_model_spec_can_be_a_key() -> None:
    specs = {ModelSpec("kmnist"), ModelSpec("kmnist", 1), ModelSpec("kmnist", label="stable")}
    assert len(specs) == 3


def test_the_version_of_outputs_is_optional() -> None:
    assert Outputs({"class_ids": np.zeros(1)}).version is None
