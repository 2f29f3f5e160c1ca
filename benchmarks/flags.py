"""The flags that the benchmarks share, and how each of them runs alone."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import Section


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser of the shared flags; each benchmark obeys those that concern it."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--rounds", type=_count, default=5, help="measurements of each side, in turn")
    made.add_argument("--epochs", type=_count, default=15, help="of every training run")
    made.add_argument(
        "--times",
        type=_count,
        nargs="+",
        default=[1, 4, 16, 64],
        metavar="N",
        help="sizes of the growth benchmark, in MNISTs",
    )
    made.add_argument(
        "--torch-python", default=sys.executable, metavar="PYTHON", help="a Python that has torch"
    )
    made.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="URL",
        help="a server that is running, to be measured too: http:// or grpc://",
    )
    made.add_argument(
        "--scratch",
        type=Path,
        metavar="DIR",
        help="where data and a model are made, 3 GB; what is there is used again",
    )
    return made


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"received {text}; expected a whole number from 1")
    return int(text)


@contextmanager
def scratch(flags: argparse.Namespace) -> Iterator[Path]:
    """The folder of ``--scratch``, or one that goes away."""
    if flags.scratch:
        flags.scratch.mkdir(parents=True, exist_ok=True)
        yield flags.scratch.resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def alone(doc: str | None, measure: Callable[[argparse.Namespace, Path], Section]) -> None:
    """The main of a benchmark: parses the flags, measures and prints the section."""
    made = parser(doc)
    made.add_argument("--json", action="store_true", help="print the section as one JSON object")
    flags = made.parse_args()
    with scratch(flags) as folder:
        section = measure(flags, folder)
    print(section.json() if flags.json else section.markdown(), end="\n" if flags.json else "")
