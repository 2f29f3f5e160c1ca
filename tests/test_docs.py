"""The documentation: its Python runs and prints what the page says, its commands and links exist.

Blocks marked ``python`` are executed, those of a page in one namespace and from top to bottom. In the
tutorial a block marked ``text`` that follows one holds what it prints, and blocks marked ``py`` quote
TensorFlow 1 or need TensorFlow Serving's example.
"""

import ast
import contextlib
import hashlib
import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import MagicMock

import click
import matplotlib.pyplot as plt
import numpy as np
import pytest
import trustme
from PIL import Image

from kmnist.cli import main

if TYPE_CHECKING:
    from kmnist.server import Server

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TUTORIAL: Final = ROOT / "docs" / "tutorial.md"
NOTEBOOK: Final = ROOT / "examples" / "tutorial.ipynb"

# The pictures in docs/, and the files that they show.
PICTURES: Final = {
    "draw.webp": "kmnist/server/web/*",
    **{
        f"images/{name}.png": "kmnist/export/plots.py"
        for name in ("confusion", "samples", "weights", "weights-normal")
    },
}

_NUMBER: Final = re.compile(r"\d+\.\d+")
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the content of each fenced block of a page."""
    return _BLOCK.findall(page.read_text("utf-8"))


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def execute(code: str, names: dict[str, Any]) -> str:
    """Run a piece of Python; return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "page", "exec"), names)
    return printed.getvalue()


def shell_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command in the shell blocks of a page."""
    for language, content in blocks(page):
        text = re.sub(r"\s#.*|\\\n", "", content)  # without comments and continuations
        lexer = shlex.shlex(
            text if language == "bash" else "", posix=True, punctuation_chars="|&;\n"
        )
        lexer.whitespace_split, lexer.whitespace = True, " \t"
        for separates, words in groupby(lexer, lambda word: set(word) <= set("|&;\n")):
            if not separates:
                yield [word.removeprefix(".venv/bin/") for word in words]


def assert_same_output(printed: str, shown: str) -> None:
    """Compare two outputs: numbers with a fraction may differ by one in a hundred."""
    assert _NUMBER.sub("#", printed).split() == _NUMBER.sub("#", shown).split()
    numbers = [[float(n) for n in _NUMBER.findall(text)] for text in (printed, shown)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.01)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_the_tutorial_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, Any] = {}
    printed, checked = "", 0
    for language, content in blocks(TUTORIAL):
        if language == "python":
            printed = execute(content, names)
        elif language == "text" and printed:
            assert_same_output(printed, content)
            printed, checked = "", checked + 1
    assert checked >= 11
    shown = plt.imread(ROOT / "docs" / "images" / "digits.png")  # in shades of grey
    assert np.array_equal(plt.imread(tmp_path / "digits.png")[..., 0], shown)


@pytest.fixture(scope="module")
def half_plus_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the model of TensorFlow Serving's documentation."""
    import tensorflow as tf

    from kmnist.server import Server

    base = tmp_path_factory.mktemp("models") / "half_plus_two"
    signature = tf.function(lambda x: {"y": x / 2 + 2}).get_concrete_function(
        tf.TensorSpec((None,), name="x")
    )
    tf.saved_model.save(tf.Module(), str(base / "1"), signatures=signature)
    with Server(base, grpc_port=0, rest_port=0) as server:
        yield server.grpc_url


@pytest.mark.parametrize(
    "page", ["README", "docs/client", "docs/data", "docs/recipes", "docs/serving"]
)
def test_the_python_of_a_page_runs(
    page: str,
    tiny: Path,
    models: Path,
    served: "Server",
    half_plus_two: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "mlflow", MagicMock())  # the recipe needs no more of it
    shutil.copytree(models, tmp_path / "models" / "kmnist")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "examples" / "seven.png", tmp_path)
    trustme.CA().cert_pem.write_to_path("ca.pem")
    names: dict[str, Any] = {}
    printed = ""
    text = (ROOT / f"{page}.md").read_text("utf-8")
    for language, content in blocks(ROOT / f"{page}.md"):
        if language == "python":
            tiny_data = f"load_dataset({str(tiny)!r}, validation_size=100)"
            here = content.replace('load_dataset("mnist")', tiny_data)
            url = half_plus_two if "half_plus_two" in here else served.grpc_url
            here = here.replace("grpc://localhost:8500", url)
            printed += execute(here.replace("http://localhost:8501", served.rest_url), names)
    assert "7" in printed.split() or "seven.png" not in text
    assert "{'y': array([2.5, 3. , 4.5]" in printed or "half_plus_two" not in text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_notebook_runs(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # to be restored: the notebook sets it
    names: dict[str, Any] = {}
    tiny_data = f"load_dataset({str(tiny)!r}, validation_size=100)"
    smaller = {'load_dataset("mnist")': tiny_data, "55_000": "400", "550": "4"}
    for cell in code_cells():
        source = "".join(cell["source"])
        for before, after in smaller.items():
            source = source.replace(before, after)
        execute(source, names)


def test_the_notebook_was_executed_from_top_to_bottom() -> None:
    cells = code_cells()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert outputs
    assert "error" not in outputs
    red = [cell for cell in cells if any(o.get("name") == "stderr" for o in cell["outputs"])]
    assert red in ([], cells[:1])  # TensorFlow's import


def outline(page: Path) -> list[str]:
    """Return the begins of headings, blocks, rows of tables, pictures and list items, in order."""
    begin = re.compile(r"#+( \d+\.)?|```|\||!\[|- ")
    lines = _BLOCK.sub("```", page.read_text("utf-8")).splitlines()
    return [found[0] for line in lines if (found := begin.match(line))]


def inline_code(page: Path) -> list[str]:
    """Return the commands and names within the sentences of a page."""
    text = _BLOCK.sub("", page.read_text("utf-8"))
    return sorted(" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text))


@pytest.mark.parametrize("compared", [blocks, outline, inline_code])
@pytest.mark.parametrize("name", ["docs/tutorial", "README"])
def test_the_korean_page_has_what_the_english_one_has(
    name: str, compared: Callable[[Path], list[Any]]
) -> None:
    assert compared(ROOT / f"{name}.ko.md") == compared(ROOT / f"{name}.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_are_valid(page: Path) -> None:
    for language, content in blocks(page):
        if language in ("python", "py"):
            compile(content, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_and_options_of_shell_blocks_exist(page: Path) -> None:
    for program, *arguments in shell_commands(page):
        if program not in ("kmnist", "kmnist-train"):
            continue
        command: click.Command = main
        rest = ["train", *arguments] if program == "kmnist-train" else arguments
        while rest and isinstance(command, click.Group):
            found = command.get_command(click.Context(main), rest.pop(0))
            assert found, (program, rest)
            command = found
        options = {name for parameter in command.params for name in parameter.opts}
        used = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert used <= options | {"--help"}, rest


def digest_of(shown: str) -> str:
    """Return the SHA-256 of the files that a pattern matches."""
    files = sorted(ROOT.glob(shown))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_shows_what_is_there(picture: str) -> None:
    with Image.open(ROOT / "docs" / picture) as image:
        description = image.getexif().get(270)
    assert description == digest_of(PICTURES[picture]), (
        "take the pictures again: scripts/screenshots"
    )


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    run, check, *_ = (code for language, code in blocks(ROOT / "README.md") if language == "bash")
    assert "kmnist-train" in run
    assert "pytest" in check
    assert run in script
    assert check in script


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in _anchors(linked), target


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
