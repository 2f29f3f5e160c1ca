"""The whole ``kmnist-train`` beside the script of the TFDS guide, and beside the least possible.

    python -m benchmarks.command [--rounds 5] [--epochs 15]

``kmnist-train`` validates each epoch, exports, loads the export again and compares it, and draws
four plots; the guide's script exports and does none of that. The least possible is
``python -c "import tensorflow"`` and the epochs of the hand-written NumPy loop, without its
reading of the data. Wall and processor seconds, and peak memory, of whole processes.
"""

import argparse
from pathlib import Path

from benchmarks import prepare
from benchmarks.flags import alone
from benchmarks.measure import Command, Spread, Usage, in_turn, last_json, ratios, run
from benchmarks.report import Section, megabytes

HERE = "kmnist-train"
GUIDE = "TFDS guide's script"
IMPORT = "import tensorflow"
NUMPY = "NumPy, by hand"
LEAST = "import tensorflow + NumPy's epochs"


def measure(flags: argparse.Namespace, scratch: Path) -> Section:
    """Runs every side once to warm the file cache, and then in turn."""
    commands = _commands(prepare.tfds_mnist(scratch), scratch, flags.epochs)
    for command in commands:
        run(command)
    found = in_turn(commands, flags.rounds, lambda usage: usage)
    wall = {name: [usage.wall for usage in usages] for name, usages in found.items()}
    epochs = [_epochs(usage) for usage in found[NUMPY]]
    wall[LEAST] = [a + b for a, b in zip(wall.pop(IMPORT), epochs, strict=True)]
    del wall[NUMPY]
    over = ratios(wall, HERE)
    shown = {command.name: f"`{command}`" for command in commands}
    shown[LEAST] = f"{shown[IMPORT]}, then the epochs of {shown[NUMPY]}"
    return Section(
        "command",
        "The whole command",
        f"{flags.epochs} epochs of MNIST, each run {flags.rounds} times in turn, after one time "
        "that does not count.",
        ["run", "× kmnist-train", "s", "processor s", "peak memory", "run as"],
        [
            [name, str(over[name]), str(Spread.of(wall[name])), *_cost(found.get(name)), command]
            for name, command in shown.items()
            if name in wall
        ],
        [(f"{HERE} (kmnist)" if name == HERE else name, Spread.of(wall[name])) for name in wall],
        "seconds; less is better",
        notes=[
            f"kmnist-train over {LEAST}: {ratios(wall, LEAST)[HERE]}.",
            *_children(found[HERE]),
        ],
    )


def _commands(data: Path, scratch: Path, epochs: int) -> list[Command]:
    count = ["--epochs", str(epochs)]
    base, guide = scratch / "command" / "kmnist", scratch / "guide"
    script = ["benchmarks/peers/tfds_guide.py"]
    return [
        Command(HERE, ["-m", "kmnist", "train", *count, "--output", str(base)]),
        Command(
            GUIDE,
            [*script, "--data-dir", str(data), *count, "--output", str(guide)],
        ),
        Command(IMPORT, ["-c", "import tensorflow"]),
        Command(NUMPY, ["-m", "benchmarks.peers.numpy_loop", *count]),
    ]


def _epochs(usage: Usage) -> float:
    answer = last_json(usage)
    return float(answer["first_epoch"] + sum(answer["epochs"]))


def _cost(usages: list[Usage] | None) -> list[str]:
    if usages is None:
        return ["", ""]
    processor, memory = ([getattr(usage, key) for usage in usages] for key in ("cpu", "rss"))
    return [str(Spread.of(processor)), megabytes(max(memory))]


def _children(usages: list[Usage]) -> list[str]:
    """The peak memory of each Python it starts, which is not in that of the command itself."""
    # A child that has not begun to run its own program yet shows the name of its parent.
    names = {name for usage in usages for name in usage.children if name.startswith("-m kmnist.")}
    peaks = {name: max(usage.children.get(name, 0) for usage in usages) for name in sorted(names)}
    return [
        f"kmnist-train also starts `python {name}`, of {megabytes(peak)} at its peak; the "
        "processor seconds hold its own."
        for name, peak in peaks.items()
    ]


if __name__ == "__main__":
    alone(__doc__, measure)
