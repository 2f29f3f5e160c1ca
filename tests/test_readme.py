"""The README: its commands are those of CI. test_docs.py runs its Python."""

import re
from pathlib import Path

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
