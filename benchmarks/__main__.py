"""Measure kmnist beside its peers, and print a page of tables.

    python -m benchmarks > benchmarks/RESULTS.md
    python -m benchmarks --only client serving --quick

Run it in the root of a checkout with the extra ``dev`` installed, on an idle Linux machine.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from benchmarks.harness import Options, measure

NAMES: Final = ("training", "workers", "folders", "client", "serving", "stream", "pictures")
PACKAGES: Final = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "grpcio")


def main() -> None:
    """Run the benchmarks that the command line selects."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure kmnist.")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--quick", action="store_true", help="less work: check that it runs")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each side")
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    print(_introduction(), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        options = Options(arguments.rounds, arguments.quick, Path(scratch))
        for name in arguments.only:
            started = time.perf_counter()
            # In a process where no other benchmark has loaded or configured TensorFlow.
            with ProcessPoolExecutor(1, get_context("spawn")) as executor:
                section = executor.submit(measure, name, options).result()
            print(f"{section}\nTook {time.perf_counter() - started:.0f} s.\n", flush=True)


def _introduction() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    cpuinfo = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    processor = next(line for line in cpuinfo if line.startswith("model name")).partition(": ")[2]
    return (
        f"# Results\n\nWritten by `{' '.join(['python -m benchmarks', *sys.argv[1:]])}`. What is "
        "compared runs in turn (A B A B …). A figure is the median of the rounds, with the "
        "smallest and the largest. A ratio is the peer's figure over that of kmnist in the same "
        "round: above 1, the peer takes more.\n\n"
        f"Machine: {processor}, {len(os.sched_getaffinity(0))} "
        f"cores, {memory:.0f} GiB memory, {platform.system()} {platform.release()}, load average "
        f"{os.getloadavg()[2]:.1f}. Python {platform.python_version()}, {packages}.\n"
    )


if __name__ == "__main__":
    main()
