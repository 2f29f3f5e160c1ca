"""Training: an epoch, the whole command and the export."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final, TypeAlias

from benchmarks.harness import (
    Options,
    Usage,
    check_accuracy,
    compare,
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
PEERS: Final = (NUMPY, GUIDE, "Keras `fit` on arrays")
IMPORT: Final = "import tensorflow"

PREPARE: Final = "import sys, benchmarks.datasets as datasets; datasets.write_tfds(sys.argv[1])"
PROCESSES: Final = "process | test accuracy | first epoch, s"

Usages: TypeAlias = Mapping[str, Sequence[Usage]]


def measure(options: Options) -> str:
    """Measure every side in turn."""
    epochs = 2 if options.quick else 15
    usages = run_in_turn(_commands(options, str(epochs)), options.rounds)
    return (
        f"## Training\n\n{epochs} epochs of 55,000 images of MNIST in batches of 100, each side in "
        "a process of its own. An epoch is the median of those after the first. The whole command "
        "validates each epoch, draws plots, exports five signatures and checks them; the guide's "
        "pipeline exports one function and does none of the rest.\n\n"
        f"{table(_comparisons(usages))}\n{table(_processes(usages, epochs), PROCESSES)}"
    )


def _commands(options: Options, epochs: str) -> Mapping[str, Sequence[str]]:
    data, exports = str(options.scratch / "tfds"), options.scratch / "exports"
    run(python("-c", PREPARE, data))
    ours, guide = str(exports / "kmnist"), str(exports / "guide")

    def loop(side: str, *arguments: str) -> Sequence[str]:
        return python("-m", "benchmarks.loops", side, "--epochs", epochs, *arguments)

    train = python("-m", "kmnist", "train", "--epochs", epochs, "--json", "--models", ours)
    peers = (loop("numpy"), loop("tfds", "--data", data, "--output", guide), loop("keras"))
    return {
        TRAIN: train,
        TUTORIAL: (*train, "--init", "random_normal"),
        EPOCHS: loop("kmnist", "--output", ours),
        **dict(zip(PEERS, peers, strict=True)),
        IMPORT: python("-c", IMPORT),
    }


def _comparisons(usages: Usages) -> Iterator[Sequence[str]]:
    def steady(name: str) -> list[float]:
        return [median(usage.result["epochs"][1:]) for usage in usages[name]]

    def export(name: str) -> list[float]:
        return [usage.result["export"] for usage in usages[name]]

    def wall(name: str) -> list[float]:
        return [usage.seconds for usage in usages[name]]

    for name in PEERS:
        yield compare("an epoch", "s", steady(EPOCHS), name, steady(name))
    numpy = [sum(usage.result["epochs"]) for usage in usages[NUMPY]]
    floor = [sum(pair) for pair in zip(wall(IMPORT), numpy, strict=True)]
    yield compare("the whole command", "s", wall(TRAIN), GUIDE, wall(GUIDE))
    yield compare("the whole command", "s", wall(TRAIN), f"{IMPORT} + NumPy's epochs", floor)
    yield compare("the export", "s", export(EPOCHS), "Keras' own", export(GUIDE))


def _processes(usages: Usages, epochs: int) -> Iterator[Sequence[str]]:
    for name in filter(IMPORT.__ne__, usages):
        results = [usage.result for usage in usages[name]]
        accuracies = [_accuracy(result, name, epochs) for result in results]
        first = [result["epochs"][0] for result in results if "epochs" in result]
        yield name, spread(accuracies, ".4f"), spread(first) if first else ""


def _accuracy(result: Mapping[str, Any], name: str, epochs: int) -> float:
    """Return the test accuracy, which has to be that of one softmax layer."""
    accuracy = result["test"]["accuracy"] if "test" in result else result["accuracy"]
    lowest, highest = (0.88, 0.90) if name == TUTORIAL else (0.91, 0.93)
    return check_accuracy(accuracy, lowest if epochs >= 15 else 0.7, highest, name)
