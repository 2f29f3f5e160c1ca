"""The choice of a device, with and without GPUs."""

from typing import Any

import pytest
import tensorflow as tf

from kmnist.errors import InputError, MissingError
from kmnist.training.devices import choose_device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The GPUs that TensorFlow finds; none at first."""
    found: list[str] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found)
    return found


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of each call that selects the visible devices."""
    calls: list[Any] = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *call: calls.append(call))
    return calls


@pytest.mark.parametrize(
    ("device", "count", "used"),
    [
        ("auto", 0, "cpu"),
        ("auto", 1, "gpu"),
        ("auto", 2, "2 gpus"),
        ("gpu", 1, "gpu"),
        ("gpu", 3, "3 gpus"),
    ],
)
def test_the_devices_in_use_are_returned(
    device: str, count: int, used: str, gpus: list[str], hidden: list[Any]
) -> None:
    gpus += ["GPU"] * count
    assert choose_device(device) == used
    assert hidden == []


def test_cpu_hides_the_gpus(gpus: list[str], hidden: list[Any]) -> None:
    assert choose_device("cpu") == "cpu"
    assert hidden == []
    gpus.append("GPU")
    assert choose_device("cpu") == "cpu"
    assert hidden == [([], "GPU")]


def test_a_missing_gpu_is_reported(gpus: list[str]) -> None:
    with pytest.raises(MissingError, match="TensorFlow sees no GPU; check that nvidia-smi lists"):
        choose_device("gpu")


def test_an_unknown_device_is_rejected() -> None:
    with pytest.raises(InputError, match="received device 'tpu'; expected one of auto, cpu, gpu"):
        choose_device("tpu")


def test_a_choice_after_tensorflow_started_is_rejected(
    gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_call: object) -> None:
        raise RuntimeError("Visible devices cannot be modified after being initialized")

    gpus.append("GPU")
    monkeypatch.setattr(tf.config, "set_visible_devices", fail)
    with pytest.raises(InputError, match="after TensorFlow started with a GPU; choose the device"):
        choose_device("cpu")
