"""kmnist's own training through its public API, without validation, for the comparisons.

    python -m benchmarks.kmnist_epochs [--dataset mnist] [--epochs 15]

Prints one JSON line as the peers do (:mod:`benchmarks.peers.mnist`), and how many images it
trained on. Of the bundled MNIST the first 5,000 are held out; of a folder, none.
"""

import argparse
import dataclasses
import json

from kmnist import build_model, evaluate, load_dataset, train


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--epochs", type=int, default=15)
    flags = parser.parse_args()
    bundled = flags.dataset == "mnist"
    dataset = load_dataset(flags.dataset, validation_size=5_000 if bundled else 0)
    dataset = dataclasses.replace(dataset, validation=dataset.validation[:0])
    model = build_model(dataset.image_shape, len(dataset.class_names), seed=0)
    run = train(model, dataset, epochs=flags.epochs)
    seconds = [epoch.seconds for epoch in run.history]
    print(
        json.dumps(
            {
                "first_epoch": seconds[0],
                "epochs": seconds[1:],
                "test_accuracy": evaluate(model, dataset.test).accuracy,
                "images": len(dataset.train),
            }
        )
    )


if __name__ == "__main__":
    main()
