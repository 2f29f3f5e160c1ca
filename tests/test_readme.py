"""The README: its commands are those of CI, and its Python runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    run, check, *_ = blocks("bash")
    assert "kmnist-train" in run
    assert "pytest" in check
    assert run in script
    assert check in script


def test_every_command_that_it_names_exists() -> None:
    from kmnist.cli import COMMANDS

    named = set(re.findall(r"kmnist (\w+)", "\n".join(blocks("bash"))))
    assert named
    assert named <= set(COMMANDS)


def test_every_file_that_it_names_exists() -> None:
    for name in re.findall(r"`([\w./-]+\.(?:py|txt|sh|yml))`", README):
        assert (ROOT / name).exists() or name == "classes.txt", name


def test_its_client_example_runs(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow as tf

    from kmnist import load_dataset
    from kmnist.server import Server

    seven = load_dataset().test.images[0]
    picture = tmp_path / "seven.png"
    picture.write_bytes(tf.io.encode_png(seven[..., None]).numpy())
    example = next(block for block in blocks("python") if "seven.png" in block)
    with Server(base=models, rest_port=0, grpc_port=0) as server:
        example = example.replace("grpc://localhost:8500", server.grpc_url)
        exec(example.replace("seven.png", str(picture)), {})
    assert capsys.readouterr().out.split()[0] == "7"


def test_its_training_example_runs(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = next(block for block in blocks("python") if "train(" in block)
    monkeypatch.chdir(tmp_path)
    short = example.replace(
        'load_dataset("mnist")', f"load_dataset({str(tiny)!r}, validation_size=100)"
    )
    assert short != example
    exec(short, {})
    assert (tmp_path / "models" / "kmnist" / "1" / "saved_model.pb").exists()
