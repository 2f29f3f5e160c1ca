"""The commands: one click group ``kmnist``, one file a command.

Nothing heavy is imported to print help: the group knows each command's name and summary, and
loads its file when it runs. See :mod:`kmnist.cli._base` for what all commands share.
"""

from kmnist.cli._base import LazyGroup

__all__ = ["main", "train"]

# name → what it does, in the order of the way from images to answers.
SUMMARIES = {
    "train": "Train the model and export the next version.",
    "evaluate": "Measure the accuracy of a version or of a server.",
    "serve": "Serve the exported versions over gRPC and REST.",
    "predict": "Tell which digit a picture shows.",
    "status": "Show a server's versions, states, labels and signatures.",
    "versions": "List, label and prune the exported versions.",
    "doctor": "Find what is wrong with a served model.",
    "bench": "Measure a server's requests per second and latency.",
}

main = LazyGroup(
    "kmnist",
    module=__name__,
    summaries=SUMMARIES,
    help="Softmax regression on MNIST: train it, serve it, ask it.",
)


def train() -> None:
    """``kmnist-train``: the same as ``kmnist train``."""
    from kmnist.cli.train import command

    command.main(prog_name="kmnist-train")
