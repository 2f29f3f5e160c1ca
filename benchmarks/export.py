"""An export alone: kmnist's, with all its checks, beside Keras' own.

    python -m benchmarks.export [--rounds 5]

kmnist writes five signatures that take numbers, bytes or pictures, warm-up requests, a model card
and four plots, loads what it wrote and compares its answers with the model's. Keras' own export
writes one function that takes numbers, under two names, and checks nothing.
"""

import argparse
from pathlib import Path

from benchmarks.flags import alone
from benchmarks.measure import Command, Spread, in_turn, last_json, ratios
from benchmarks.report import Section

HERE = "kmnist"
KERAS = ["-m", "benchmarks.peers.keras_export", "--loop"]


def measure(flags: argparse.Namespace, scratch: Path) -> Section:
    """Exports from a new process each time."""
    into = ["--output", str(scratch / "exported" / "kmnist")]
    commands = [
        Command(HERE, ["-m", "benchmarks.kmnist_export", *into]),
        Command("Keras export", [*KERAS, "plain", *into]),
        Command("Keras export, loaded again", [*KERAS, "loaded", *into]),
    ]
    found = in_turn(commands, flags.rounds, last_json)
    seconds = {name: [each["seconds"] for each in rounds] for name, rounds in found.items()}
    over = ratios(seconds, HERE)
    return Section(
        "export",
        "The export",
        "From a trained model in memory to a version folder on disk.",
        ["export", "× kmnist", "s", "signatures", "size", "run as"],
        [
            [
                command.name,
                str(over[command.name]),
                str(Spread.of(seconds[command.name])),
                str(found[command.name][0]["signatures"]),
                f"{found[command.name][0]['bytes'] / 1e3:,.0f} kB",
                f"`{command}`",
            ]
            for command in commands
        ],
        [(name, Spread.of(values)) for name, values in seconds.items()],
        "seconds; less is better",
    )


if __name__ == "__main__":
    alone(__doc__, measure)
