"""Everything, on one page: ``benchmarks/RESULTS.md`` and its charts.

    python -m benchmarks [--only NAME …] [--quick] [--torch-python PYTHON] [--scratch DIR]
    python -m benchmarks --server http://host:8501 --server grpc://host:8500

Run it from the root of a checkout with kmnist installed, on a machine that does nothing else.
With --server a server that is running already, such as TensorFlow Serving, is measured too.
A benchmark that fails is reported on its place on the page, and makes the exit code 1.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import command, growth, prepare, report, training
from benchmarks.measure import Command, run
from benchmarks.report import Section

FOLDER = Path(__file__).parent

Benchmark = Callable[[argparse.Namespace, Path], Section]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="see that it works; quote nothing")
    parser.add_argument("--server", action="append", default=[], metavar="URL")
    parser.add_argument("--output", type=Path, default=FOLDER, help="of RESULTS.md and charts/")
    training.add_flags(parser)
    growth.add_flags(parser)
    flags = parser.parse_args()
    if flags.quick:
        flags.rounds, flags.epochs, flags.times = 1, 2, [1, 4]
    failed = 0
    sections = []
    with tempfile.TemporaryDirectory(dir=flags.scratch) as folder:
        scratch = Path(folder)
        if {"training", "command"} & set(flags.only):
            flags.tfds = prepare.prepared_mnist(flags.tfds, scratch)
        for name in flags.only:
            print(f"== {name}", file=sys.stderr, flush=True)
            started = time.perf_counter()
            try:
                section = BENCHMARKS[name](flags, scratch)
            except RuntimeError as error:
                failed += 1
                section = Section(name, name.capitalize(), "It failed:", verbatim=str(error))
            section.notes.append(f"This took {time.perf_counter() - started:.0f} s.")
            sections.append(section)
            # Written after each, so that an interruption loses one benchmark and not all.
            page = report.write(sections, flags.output, quick=flags.quick)
    print(page)
    return 1 if failed else 0


def measure_client(flags: argparse.Namespace, scratch: Path) -> Section:
    return _client(flags, "client", ["--base", str(trained(scratch))])


def measure_server(flags: argparse.Namespace, scratch: Path) -> Section:
    arguments = ["-m", "benchmarks.server", "--base", str(trained(scratch))]
    if flags.quick:
        arguments += ["--rounds", "1", "--seconds", "0.5"]
    text = "The embedded server beside a direct call of the same SavedModel."
    return _printed("server", "kmnist serve", text, arguments)


def measure_pictures(flags: argparse.Namespace, _scratch: Path) -> Section:
    arguments = ["-m", "benchmarks.pictures"]
    if flags.quick:
        arguments += ["--digits", "20", "--epochs", "1", "--rounds", "1"]
    text = "What the signature `pictures` costs, and how often it is right."
    return _printed("pictures", "Pictures", text, arguments)


def measure_given(flags: argparse.Namespace, _scratch: Path) -> Section:
    """The servers of ``--server``: requests per second; with both protocols, the client too."""
    if not flags.server:
        return Section("given", "A server given", "None was given with `--server`.")
    arguments = ["-m", "kmnist", "bench", *flags.server]
    arguments += ["--duration", "1" if flags.quick else "10"]
    section = _printed("given", "A server given", "Measured by `kmnist bench`.", arguments)
    grpc = [url for url in flags.server if url.startswith("grpc")]
    rest = [url for url in flags.server if url.startswith("http")]
    if grpc and rest:
        client = _client(flags, "given", ["--grpc", grpc[0], "--rest", rest[0]])
        section.verbatim += "\n" + client.verbatim
        section.notes += client.notes
        section.image = client.image
    return section


def trained(scratch: Path) -> Path:
    """A folder of one version to serve, trained once for all that need it."""
    base = scratch / "served" / "kmnist"
    if not base.is_dir():
        run(Command("train", ["-m", "kmnist", "train", "--output", str(base)]))
    return base


def _client(flags: argparse.Namespace, name: str, server: list[str]) -> Section:
    image = f"charts/{name}.png"
    (flags.output / "charts").mkdir(parents=True, exist_ok=True)
    arguments = ["-m", "benchmarks.client", *server, "--rounds", "1" if flags.quick else "3"]
    arguments += ["--plot", str((flags.output / image).resolve())]
    text = (
        "The client beside the official stubs, requests with json, and bare stubs, against one "
        "server, request by request in turn."
    )
    section = _printed(name, "The client", text, arguments)
    section.image = image
    return section


def _printed(name: str, title: str, text: str, arguments: list[str]) -> Section:
    """A benchmark that prints its own table, and may end with exit code 1 if it is not content."""
    measured = Command(name, arguments)
    usage = run(measured, accept=(0, 1))
    if not usage.output:
        raise RuntimeError(f"{measured} printed nothing:\n{usage.complaint[-2000:]}")
    notes = [f"Run as `{measured}`, which ended with exit code {usage.status}."]
    return Section(name, title, text, verbatim=usage.output, notes=notes)


BENCHMARKS: dict[str, Benchmark] = {
    "training": training.measure,
    "command": command.measure,
    "growth": growth.measure,
    "client": measure_client,
    "server": measure_server,
    "pictures": measure_pictures,
    "given": measure_given,
}

if __name__ == "__main__":
    sys.exit(main())
