"""kmnist's own export through its public API, for the comparison.

    python -m benchmarks.kmnist_export --output DIR

Trains for an epoch first, outside the timing. Prints one JSON line as its peer does.
"""

import argparse
import time
from pathlib import Path

import tensorflow as tf

from benchmarks.peers.keras_export import told
from kmnist import build_model, evaluate, export_model, load_dataset, train


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    base = parser.parse_args().output
    dataset = load_dataset("mnist")
    run = train(build_model(), dataset, epochs=1)
    evaluation = evaluate(run.model, dataset.test)
    started = time.perf_counter()
    folder = export_model(run, evaluation, base)
    seconds = time.perf_counter() - started
    print(told(seconds, folder, tf.saved_model.load(str(folder))))


if __name__ == "__main__":
    main()
