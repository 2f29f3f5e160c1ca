"""Training: an epoch, the whole command, the export and growing data."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias

from benchmarks.datasets import write_copies
from benchmarks.harness import (
    Options,
    Usage,
    check_accuracy,
    compare,
    display,
    python,
    run,
    run_in_turn,
    spread,
    table,
)

TRAIN: Final = "kmnist train"
TUTORIAL: Final = "kmnist train, the tutorial's initial weights"
EPOCHS: Final = "kmnist, without validation"
NUMPY: Final = "NumPy by hand"
GUIDE: Final = "the TFDS guide's pipeline"
IMPORT: Final = "import tensorflow"

PREPARE: Final = "import sys, benchmarks.datasets as datasets; datasets.write_tfds(sys.argv[1])"
PROCESSES: Final = "process | test accuracy | first epoch, s | run as"

Commands: TypeAlias = Mapping[str, Sequence[str]]
Usages: TypeAlias = Mapping[str, Sequence[Usage]]


def measure(options: Options) -> str:
    """Measure every side in turn, then the tutorial's initial weights and growing data."""
    epochs = 2 if options.quick else 15
    commands = _commands(options, epochs)
    usages = run_in_turn(commands, options.rounds)
    comparisons = [*_comparisons(usages), *_growth(options)]
    tutorial = {TUTORIAL: (*commands[TRAIN], "--init", "random_normal")}
    commands, usages = {**commands, **tutorial}, usages | run_in_turn(tutorial, 1)
    return (
        f"## Training\n\n{epochs} epochs of 55,000 images of MNIST in batches of 100, each side in "
        "a process of its own. An epoch is the median of those after the first. The whole command "
        "validates each epoch, draws plots, exports five signatures and checks them; the guide's "
        "pipeline exports one function and does none of the rest. Memory is without the pages of "
        "mapped files.\n\n"
        f"{table(comparisons)}\n"
        f"{table(_processes(commands, usages, epochs), PROCESSES)}"
    )


def _commands(options: Options, epochs: int) -> Commands:
    data = options.scratch / "tfds"
    if not any(data.glob("mnist/*/dataset_info.json")):
        run(python("-c", PREPARE, str(data)))
    exports, count = options.scratch / "exports", ["--epochs", str(epochs)]
    ours, guide = str(exports / "kmnist"), str(exports / "guide")

    def loop(side: str, *arguments: str) -> Sequence[str]:
        return python("-m", "benchmarks.loops", side, *count, *arguments)

    return {
        TRAIN: python("-m", "kmnist", "train", *count, "--json", "--models", ours),
        EPOCHS: loop("kmnist", "--output", ours),
        NUMPY: loop("numpy"),
        GUIDE: loop("tfds", "--data", str(data), "--output", guide),
        "Keras `fit` on arrays": loop("keras"),
        IMPORT: python("-c", "import tensorflow"),
    }


def _comparisons(usages: Usages) -> Iterator[Sequence[str]]:
    def steady(name: str) -> list[float]:
        return [median(usage.result["epochs"][1:]) for usage in usages[name]]

    def export(name: str) -> list[float]:
        return [usage.result["export"] for usage in usages[name]]

    def wall(name: str) -> list[float]:
        return [usage.seconds for usage in usages[name]]

    for name in usages:
        if name not in (TRAIN, EPOCHS, IMPORT):
            yield compare("an epoch", "s", steady(EPOCHS), name, steady(name))
    numpy = [sum(usage.result["epochs"]) for usage in usages[NUMPY]]
    least = [sum(pair) for pair in zip(wall(IMPORT), numpy, strict=True)]
    yield compare("the whole command", "s", wall(TRAIN), GUIDE, wall(GUIDE))
    yield compare("the whole command", "s", wall(TRAIN), f"{IMPORT} + NumPy's epochs", least)
    yield compare("the export", "s", export(EPOCHS), "Keras' own", export(GUIDE))


def _growth(options: Options) -> Iterator[Sequence[str]]:
    """Train on more and more data, each time in a new process; compare with the smallest."""
    found = {}
    for times in (1, 4) if options.quick else (1, 4, 16, 64):
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            images = write_copies(Path(folder), times)
            folders = ["--data", folder, "--output", f"{folder}/models/kmnist"]
            epochs = str(1 + options.rounds)
            command = python("-m", "benchmarks.loops", "kmnist", "--epochs", epochs, *folders)
            result = run(command).result
        check_accuracy(result["accuracy"], 0.85, 0.93, f"{times} × MNIST")
        microseconds = [seconds / images * 1e6 for seconds in result["epochs"][1:]]
        found[f"{images:,}"] = microseconds, [result["memory"]]
    (smallest, base), *larger = found.items()
    for size, figures in larger:
        yield compare(f"an image of {size}", "µs", figures[0], f"of {smallest}", base[0])
        yield compare(f"memory with {size} images", "MB", figures[1], f"with {smallest}", base[1])


def _processes(commands: Commands, usages: Usages, epochs: int) -> Iterator[Sequence[str]]:
    for name in commands:
        results = [usage.result for usage in usages[name] if name != IMPORT]
        accuracies = [_accuracy(result, name, epochs) for result in results]
        first = [result["epochs"][0] for result in results if "epochs" in result]
        figures = spread(accuracies, ".4f") if accuracies else "", spread(first) if first else ""
        yield name, *figures, f"`{display(commands[name])}`"


def _accuracy(result: Mapping[str, Any], name: str, epochs: int) -> float:
    """Return the test accuracy, which has to be that of one softmax layer."""
    accuracy = result["test"]["accuracy"] if "test" in result else result["accuracy"]
    lowest, highest = (0.88, 0.90) if name == TUTORIAL else (0.91, 0.93)
    return check_accuracy(accuracy, lowest if epochs >= 15 else 0.7, highest, name)
