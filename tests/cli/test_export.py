"""``kmnist export``: a model that was trained elsewhere."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kmnist import Run, evaluate
from kmnist.cli import main
from kmnist.versions import list_versions, read_labels


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_a_keras_file_is_evaluated_published_and_labelled(
    models: Path, trained: Run, tiny: Path, tmp_path: Path
) -> None:
    accuracy = evaluate(trained.model, trained.dataset.test).accuracy
    keras_file, own = models / "1" / "model.keras", tmp_path / "own"
    arguments: list[str | Path] = [keras_file, "--dataset", tiny, "--models", own]
    refused = export(*arguments, "--min-accuracy", "0.99", "--json")
    assert json.loads(refused.stdout)["published"] is False
    assert refused.exit_code == 1
    assert "below the minimum 0.99: nothing was published" in refused.stderr
    done = export(*arguments, "--label", "stable")
    assert f"test accuracy {accuracy:.4f}\nexported {own / '1'} with the" in done.stdout
    assert (list_versions(own), read_labels(own)) == ([1], {"stable": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.h5"], "model.h5 is not a .keras file: save the model with model.save"),
        (["damaged.keras"], "not a model in Keras' format, or not all of it"),
        (["no.keras"], "'no.keras' does not exist"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.h5", "damaged.keras"):
        (tmp_path / name).write_bytes(b"PK no model")
    done = export(*arguments, "--models", "models")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert any(each in done.stderr for each in message.split("|"))
    assert not (tmp_path / "models").exists()
