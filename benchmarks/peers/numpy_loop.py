"""The same arithmetic written by hand in NumPy, as fast as it honestly gets.

    python -m benchmarks.peers.numpy_loop [--epochs 15]

float32, one update for each batch of 100, shuffled each epoch, the cost and the training accuracy
of each epoch. Everything is written into buffers made once; classes come before examples, so that
the softmax runs along memory; cost and hits are taken from the kept probabilities, once an epoch.
"""

import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.mnist import BATCH, LEARNING_RATE, answer, parse, read

Floats = NDArray[np.float32]


def main() -> None:
    epochs = parse(__doc__).epochs
    images, labels = read("train")
    limit = np.sqrt(6 / (784 + 10))
    rng = np.random.default_rng(0)
    weights = rng.uniform(-limit, limit, (10, 784)).astype(np.float32)
    bias = np.zeros((10, 1), np.float32)
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        cost, accuracy = learn(images, labels, weights, bias, rng)
        seconds.append(time.perf_counter() - started)
    assert 0 < cost < 1, cost
    assert accuracy > 0.8, accuracy
    images, labels = read("t10k")
    right = (weights @ images.T + bias).argmax(0) == labels
    answer(seconds, float(right.mean()), "numpy")


def learn(
    images: Floats,
    labels: NDArray[np.int64],
    weights: Floats,
    bias: Floats,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """One epoch, in place; returns its mean cost and its training accuracy.

    Args:
        images: float32 (n, 784), n a multiple of the batch size.
        labels: int64 (n,).
        weights: float32 (10, 784).
        bias: float32 (10, 1).
        rng: Of the order of the examples.
    """
    order = rng.permutation(len(images))
    probabilities = np.empty((len(images) // BATCH, 10, BATCH), np.float32)
    targets = labels[order].reshape(-1, BATCH)
    one_hot = (targets[:, None] == np.arange(10)[:, None]).astype(np.float32)
    batch = np.empty((BATCH, images.shape[1]), np.float32)
    line, error, step = np.empty(BATCH, np.float32), one_hot[0].copy(), np.empty_like(weights)
    rate = np.float32(LEARNING_RATE / BATCH)
    for chosen, truth, kept in zip(order.reshape(-1, BATCH), one_hot, probabilities, strict=True):
        # "clip" only so that take writes straight into its output; every index is in range.
        images.take(chosen, 0, batch, "clip")
        p = np.matmul(weights, batch.T, out=kept)
        p += bias
        p -= p.max(0, out=line)
        np.exp(p, out=p)
        p /= p.sum(0, out=line)
        np.subtract(p, truth, out=error)
        error *= rate
        weights -= np.matmul(error, batch, out=step)
        bias -= error.sum(1, keepdims=True)
    right = (probabilities * one_hot).sum(1)
    hits = np.count_nonzero(probabilities.argmax(1) == targets)
    return float(-np.log(right).mean()), hits / len(images)


if __name__ == "__main__":
    main()
