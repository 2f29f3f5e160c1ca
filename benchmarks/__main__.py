"""Everything, on one page: ``benchmarks/RESULTS.md`` and its charts.

    python -m benchmarks [--only NAME …] [--quick] [--torch-python PYTHON] [--scratch DIR]
    python -m benchmarks --server http://host:8501 --server grpc://host:8500

Run it from the root of a checkout with kmnist installed, on a machine that does nothing else.
With --server a server that is running already, such as TensorFlow Serving, is measured too. Each
benchmark runs in a process of its own, and alone as ``python -m benchmarks.NAME``. One that fails
is reported on its place on the page, and makes the exit code 1.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import flags as shared
from benchmarks import report
from benchmarks.measure import ROOT
from benchmarks.report import Section

NAMES = ("command", "training", "growth", "export", "client", "server", "load", "pictures")
QUICK = ["--rounds", "1", "--epochs", "2", "--times", "1", "4"]


def main() -> int:
    parser = shared.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--quick", action="store_true", help="see that it works; quote nothing")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent,
        metavar="DIR",
        help="of RESULTS.md and charts/",
    )
    flags = parser.parse_args()
    failed = 0
    sections: list[Section] = []
    with shared.scratch(flags) as scratch:
        for name in flags.only:
            print(f"== {name}", file=sys.stderr, flush=True)
            started = time.perf_counter()
            section = measured(name, flags, scratch)
            failed += bool(section.verbatim)
            section.notes.append(f"This took {time.perf_counter() - started:.0f} s.")
            sections.append(section)
            # Written after each, so that an interruption loses one benchmark and not all.
            page = report.write(sections, flags.output, quick=flags.quick)
    print(page)
    return 1 if failed else 0


def measured(name: str, flags: argparse.Namespace, scratch: Path) -> Section:
    """The section of a benchmark, from a process that imports only what this one needs."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", "--scratch", str(scratch)]
    command += ["--rounds", str(flags.rounds), "--epochs", str(flags.epochs)]
    command += ["--times", *map(str, flags.times), "--torch-python", flags.torch_python]
    command += [part for url in flags.server for part in ("--server", url)]
    command += QUICK if flags.quick else []
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        ended = f"python -m benchmarks.{name} ended with exit code {done.returncode}"
        return Section(name, name.capitalize(), "It failed:", verbatim=ended)
    return Section.from_json(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
