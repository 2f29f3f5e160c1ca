"""Formats beside the SavedModel: model.keras, loaded back, and model.tflite."""

import doctest
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kmnist import Dataset, InputError, KmnistError, MissingError, Run, export_model, load
from kmnist.errors import ExportError
from kmnist.export import formats


@keras.saving.register_keras_serializable("kmnist-tests")
class Registered(layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs * 2


class Unregistered(Registered):
    pass


def dense(*after: layers.Layer) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(10),
            *after,
        ]
    )


def test_keras_loads_the_model_of_a_version(models: Path, trained: Run) -> None:
    model = load(models / "1")
    images = trained.dataset.test.images
    assert np.array_equal(model(images), trained.model(images))
    assert [type(layer) for layer in model.layers] == [
        type(layer) for layer in trained.model.layers
    ]


def test_the_example_in_the_docstring_runs(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models.parent.parent)
    assert doctest.testmod(formats) == (0, 2)


def test_what_is_no_version_of_kmnist_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MissingError, match=r"model\.keras does not exist; expected a version folder"
    ):
        load(models)
    shutil.copytree(models / "1", tmp_path / "1")
    (tmp_path / "1" / "model.keras").write_bytes(b"no zip file")
    with pytest.raises(KmnistError, match=r"model\.keras has the SHA-256"):
        load(tmp_path / "1")
    (tmp_path / "1" / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match=r"model\.keras cannot be loaded \(ValueError: "):
        load(tmp_path / "1")


def test_a_registered_layer_is_exported_and_any_other_refused(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    model = dense(Registered())
    version = export_model(model, tiny_dataset, tmp_path / "kmnist")
    images = tiny_dataset.test.images
    assert np.allclose(load(version)(images), model(images), atol=1e-4)
    for layer, reason in (
        (Unregistered(), "TypeError: Could not locate class 'Unregistered'"),
        (layers.Lambda(lambda x: x * 2), "ValueError: Requested the deserialization of a `Lambda`"),
    ):
        with pytest.raises(InputError, match=rf"save and load again \({reason}.*; decorate") as e:
            export_model(dense(layer), tiny_dataset, tmp_path / "kmnist")
        assert "\n" not in str(e.value)
    assert [path.name for path in (tmp_path / "kmnist").iterdir()] == ["1"]
    # Another process has not registered the layer.
    code = f"import kmnist; kmnist.load({str(version)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "class 'Registered'" in done.stderr.splitlines()[-1]
    assert "first import the module that registers" in done.stderr.splitlines()[-1]


def test_tflite_gives_the_probabilities_of_the_model(
    tiny_dataset: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = dense()
    version = export_model(model, tiny_dataset, tmp_path / "kmnist", formats=["tflite"])
    assert "INFO" not in capfd.readouterr().err
    with pytest.warns(UserWarning, match="LiteRT"):
        interpreter = tf.lite.Interpreter(str(version / "model.tflite"))
    interpreter.allocate_tensors()
    (received,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert received["dtype"] == np.uint8
    image = tiny_dataset.test.images[:1]
    interpreter.set_tensor(received["index"], image)
    interpreter.invoke()
    expected = tf.nn.softmax(model(image))
    assert np.allclose(interpreter.get_tensor(returned["index"]), expected, atol=1e-6)
    assert " model.tflite\n" in (version / "SHA256SUMS").read_text()


def test_a_format_that_answers_differently_is_not_published(
    trained: Run, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = formats._compare

    def with_an_error(name: str, received: Any, expected: Any) -> None:
        compare(name, np.asarray(received) + 1e-4, expected)

    monkeypatch.setattr(formats, "_compare", with_an_error)
    with pytest.raises(ExportError, match=r"answers of model\.keras differ from .* by 0\.0001"):
        export_model(trained.model, tiny_dataset, tmp_path / "kmnist")
    assert list((tmp_path / "kmnist").iterdir()) == []
    with pytest.raises(ExportError, match=r"answers of model\.tflite differ from .* by 0\.0001"):
        formats.write_tflite(trained.model, tmp_path, tiny_dataset.test.images[:3])


@pytest.mark.parametrize("wrong", ["tflite", ["onnx"], None])
def test_other_formats_are_refused(
    wrong: Any, trained: Run, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"received formats .*; expected a list of tflite"):
        export_model(trained.model, tiny_dataset, tmp_path / "kmnist", formats=wrong)
