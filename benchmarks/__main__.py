"""Measure kmnist beside its peers and write ``benchmarks/RESULTS.md``.

    python -m benchmarks [--rounds N] [--server URL]…
    python -m benchmarks --only client serving --quick

Run it in the root of a checkout with the extra ``dev`` installed, on an idle Linux machine. Only a
full run writes RESULTS.md: with --only or --quick the page goes to standard output, or to
--output. A benchmark that fails is reported in its place and makes the exit code 1.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from benchmarks.harness import Options, measure

NAMES: Final = (
    "training",
    "workers",
    "folders",
    "client",
    "serving",
    "stream",
    "pictures",
)
RESULTS: Final = Path(__file__).resolve().with_name("RESULTS.md")
PACKAGES: Final = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "grpcio")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks that ``argv`` selects; return the exit code."""
    options = parse(argv)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    page, failed = [_introduction(options)], False
    with tempfile.TemporaryDirectory() as temporary:
        options.scratch = (options.scratch or Path(temporary)).resolve()
        options.scratch.mkdir(parents=True, exist_ok=True)
        for name in options.only or NAMES:
            started = time.perf_counter()
            try:
                section = measure_apart(name, options)
            except Exception as error:  # noqa: BLE001 - the other benchmarks still run
                traceback.print_exc()
                failed = True
                reason = str(error).partition("\n")[0]
                section = f"## {name.capitalize()}\n\nFailed: {type(error).__name__}: {reason}\n"
            page.append(f"{section}\nTook {time.perf_counter() - started:.0f} s.\n")
    if options.output:
        options.output.write_text("\n".join(page), "utf-8")
        print(options.output)
    else:
        print("\n".join(page), end="")
    return int(failed)


def measure_apart(name: str, options: Options) -> str:
    """Run a benchmark in a new process, where no other has loaded or configured TensorFlow."""
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        return executor.submit(measure, name, options).result()


def parse(argv: Sequence[str] | None) -> Options:
    """Parse a command line; of a full run alone, ``output`` is RESULTS.md."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=NAMES, help="run only these benchmarks")
    add("--quick", action="store_true", help="one round of less work: check that it runs")
    add("--rounds", type=_count, metavar="N", help="measurements of each side; by default 5")
    add(
        "--server",
        action="append",
        default=[],
        metavar="URL",
        help="also measure this running server of the model kmnist, grpc:// or http://; repeatable",
    )
    add("--scratch", type=Path, metavar="DIR", help="keep data sets and models here for other runs")
    add("--output", type=Path, metavar="FILE", help="write the page to this file")
    options = parser.parse_args(argv, Options())
    options.rounds = options.rounds or (1 if options.quick else 5)
    if not (options.only or options.quick):
        options.output = options.output or RESULTS
    elif options.output and options.output.resolve() == RESULTS:
        parser.error("RESULTS.md is for full runs; received --only or --quick; use another file")
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"received {text}; expected a whole number from 1")
    return int(text)


def _introduction(options: Options) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    cpuinfo = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    processors = [line.partition(": ")[2] for line in cpuinfo if line.startswith("model name")]
    return (
        f"# Results\n\nWritten by `python -m benchmarks{' --quick' * options.quick}`. What is "
        "compared runs in turn (A B A B …). A figure is the median of the rounds, with the "
        "smallest and the largest. A ratio is the peer's figure over that of kmnist in the same "
        "round: above 1, the peer takes more.\n\n"
        f"Machine: {(processors or [platform.machine()])[0]}, {len(os.sched_getaffinity(0))} "
        f"cores, {memory:.0f} GiB memory, {platform.system()} {platform.release()}, load average "
        f"{os.getloadavg()[2]:.1f}. Python {platform.python_version()}, {packages}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
