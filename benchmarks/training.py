"""An epoch of training: kmnist beside its peers, in turn.

    python -m benchmarks.training [--rounds 5] [--epochs 15] [--torch-python PYTHON]

55,000 images, batches of 100, no validation on any side. Each side prints its seconds an epoch
and its test accuracy; the first epoch, which pays for compiling and caching, stands apart.
"""

import argparse
import statistics
import sys
from pathlib import Path

from benchmarks import prepare
from benchmarks.flags import alone
from benchmarks.measure import Command, Spread, Usage, in_turn, last_json, ratios
from benchmarks.report import Section, package_version

HERE = "kmnist"
PEERS = "benchmarks.peers."


def measure(flags: argparse.Namespace, scratch: Path) -> Section:
    """Runs every side, and checks that each learned what one softmax layer can."""
    if flags.epochs < 2:
        sys.exit(f"received --epochs {flags.epochs}; expected at least 2: the first stands apart")
    epochs = ["--epochs", str(flags.epochs)]
    commands, missing = _commands(flags, scratch, epochs)

    def seconds(usage: Usage) -> tuple[float, float, float]:
        answer = last_json(usage)
        _check(answer["test_accuracy"], flags.epochs, str(usage.output))
        return answer["first_epoch"], statistics.median(answer["epochs"]), answer["test_accuracy"]

    found = in_turn(commands, flags.rounds, seconds)
    steady = {name: [round_[1] for round_ in rounds] for name, rounds in found.items()}
    over = ratios(steady, HERE)
    rows = [
        [
            command.name,
            str(over[command.name]),
            str(Spread.of(steady[command.name])),
            str(Spread.of([round_[0] for round_ in found[command.name]])),
            f"{found[command.name][-1][2]:.4f}",
            f"`{command}`",
        ]
        for command in commands
    ]
    return Section(
        "training",
        "An epoch",
        f"55,000 images of MNIST in batches of 100, {flags.epochs} epochs, {flags.rounds} "
        "processes of each in turn, no validation. A process counts with the median of its "
        "epochs after the first.",
        ["loop", "× kmnist", "s an epoch", "s, the first epoch", "test accuracy", "run as"],
        rows,
        [(command.name, Spread.of(steady[command.name])) for command in commands],
        "seconds an epoch; less is better",
        notes=[
            *missing,
            "scikit-learn makes one update an example, for ten classifiers of one against all.",
        ],
    )


def _commands(
    flags: argparse.Namespace, scratch: Path, epochs: list[str]
) -> tuple[list[Command], list[str]]:
    """The sides that can run here, and why the others cannot."""
    data = prepare.tfds_mnist(scratch)
    guide = ["benchmarks/peers/tfds_guide.py", "--data-dir", str(data), *epochs]
    commands = [
        Command(HERE, ["-m", "benchmarks.kmnist_epochs", *epochs]),
        Command("NumPy, by hand", ["-m", PEERS + "numpy_loop", *epochs]),
        Command("Keras fit, TFDS guide", guide),
        Command("Keras fit, float arrays", ["-m", PEERS + "keras_arrays", *epochs]),
    ]
    missing = []
    if package_version(sys.executable, "scikit-learn"):
        commands.append(Command("scikit-learn", ["-m", PEERS + "sklearn_sgd", *epochs]))
    else:
        missing.append("scikit-learn was left out: it is not installed here.")
    if torch := package_version(flags.torch_python, "torch"):
        missing.append(f"PyTorch is torch {torch}.")
        commands += [
            Command(
                f"PyTorch, {loop}",
                ["-m", PEERS + "torch_loops", "--loop", loop, *epochs],
                flags.torch_python,
            )
            for loop in ("indexed", "dataloader")
        ]
    else:
        missing.append("PyTorch was left out: the Python of `--torch-python` has no torch.")
    return commands, missing


def _check(accuracy: float, epochs: int, said: str) -> None:
    lowest = 0.91 if epochs >= 15 else 0.88
    if not lowest < accuracy < 0.93:
        raise RuntimeError(
            f"a test accuracy of {accuracy} after {epochs} epochs is not that of one softmax "
            f"layer ({lowest} to 0.93); it printed {said}"
        )


if __name__ == "__main__":
    alone(__doc__, measure)
