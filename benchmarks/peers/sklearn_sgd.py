"""scikit-learn's ``SGDClassifier``, one ``partial_fit`` an epoch.

    python -m benchmarks.peers.sklearn_sgd [--epochs 15]

It has no softmax and no batches: ten classifiers, one against all, and an update for each
example, with the learning rate that an example has in a batch of 100. It reports no cost.
"""

import time

import numpy as np
from sklearn.linear_model import SGDClassifier

from benchmarks.peers.mnist import BATCH, LEARNING_RATE, answer, parse, read


def main() -> None:
    epochs = parse(__doc__).epochs
    images, labels = read("train")
    model = SGDClassifier(
        loss="log_loss",
        penalty=None,
        learning_rate="constant",
        eta0=LEARNING_RATE / BATCH,
        random_state=0,
    )
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        model.partial_fit(images, labels, classes=np.arange(10))  # shuffles
        seconds.append(time.perf_counter() - started)
    answer(seconds, float(model.score(*read("t10k"))), "scikit-learn")


if __name__ == "__main__":
    main()
