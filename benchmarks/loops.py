"""The same training by kmnist and by its peers, one side a process.

    python -m benchmarks.loops SIDE [--epochs 15] [--data DIR] [--output DIR]

Each side trains a softmax layer on the same 55,000 images of MNIST: SGD with a learning rate of
0.1, batches of 100 shuffled in each epoch, cost and training accuracy computed, no validation. It
prints one JSON object: the seconds of each epoch, the test accuracy, and the seconds of the
export where there is one. The peers import nothing of kmnist.
"""

import argparse
import dataclasses
import gzip
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

MNIST: Final = Path(__file__).parents[1] / "kmnist/data/mnist"
BATCH: Final = 100
LEARNING_RATE: Final = 0.1
HELD_OUT: Final = 5_000

Result: TypeAlias = dict[str, Any]


def main() -> None:
    """Run the side that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--data", type=Path, help="prepared data for tfds")
    parser.add_argument("--output", type=Path, help="folder that kmnist and tfds export into")
    arguments = parser.parse_args()
    print(json.dumps(SIDES[arguments.side](arguments)))


def run_kmnist(arguments: argparse.Namespace) -> Result:
    """kmnist through its public API."""
    from kmnist import build_model, evaluate, export_model, load_dataset, train

    dataset = load_dataset("mnist")
    dataset = dataclasses.replace(dataset, validation=dataset.validation[:0])
    run = train(build_model(), dataset, epochs=arguments.epochs)
    accuracy = evaluate(run.model, dataset.test).accuracy
    export = timed(lambda: export_model(run.model, dataset, arguments.output, run=run))
    seconds = [epoch.seconds for epoch in run.history]
    return {"epochs": seconds, "accuracy": accuracy, "export": export}


def run_tfds(arguments: argparse.Namespace) -> Result:
    """The pipeline of TFDS's guide to Keras, https://www.tensorflow.org/datasets/keras_example."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def normalize(image: Any, label: Any) -> tuple[Any, Any]:
        return tf.cast(image, tf.float32) / 255.0, label

    (train, test), info = tfds.load(
        "mnist",
        split=["train[5000:]", "test"],
        data_dir=arguments.data,
        download=False,
        shuffle_files=True,
        as_supervised=True,
        with_info=True,
    )
    auto = tf.data.AUTOTUNE
    train = train.map(normalize, auto).cache().shuffle(info.splits["train[5000:]"].num_examples)
    train = train.batch(BATCH).prefetch(auto)
    test = test.map(normalize, auto).batch(BATCH).cache().prefetch(auto)
    model, result = fit((28, 28, 1), [train], [test], epochs=arguments.epochs)
    export = timed(lambda: model.export(arguments.output, verbose=False))
    return {**result, "export": export}


def run_keras(arguments: argparse.Namespace) -> Result:
    """Keras ``fit`` on arrays, as in most examples of Keras."""
    train, test = read("train"), read("t10k")
    return fit((784,), train, test, batch_size=BATCH, epochs=arguments.epochs)[1]


def run_numpy(arguments: argparse.Namespace) -> Result:
    """NumPy, written and optimized by hand.

    Everything is written into existing buffers. Classes come before examples, so that the
    softmax runs along contiguous memory. Cost and accuracy come from the kept probabilities.
    """
    images, labels = read("train")
    rng = np.random.default_rng(0)
    limit = np.sqrt(6 / (784 + 10))
    weights = rng.uniform(-limit, limit, (10, 784)).astype(np.float32)
    bias = np.zeros((10, 1), np.float32)

    def learn() -> tuple[float, float]:
        nonlocal weights, bias
        order = rng.permutation(len(images))
        probabilities = np.empty((len(images) // BATCH, 10, BATCH), np.float32)
        targets = labels[order].reshape(-1, BATCH)
        one_hot = (targets[:, None] == np.arange(10)[:, None]).astype(np.float32)
        batch = np.empty((BATCH, 784), np.float32)
        line, error, step = np.empty(BATCH, np.float32), one_hot[0].copy(), np.empty_like(weights)
        rate = np.float32(LEARNING_RATE / BATCH)
        batches = zip(order.reshape(-1, BATCH), one_hot, probabilities, strict=True)
        for chosen, truth, kept in batches:
            # With "clip", take writes straight into its output; every index is in range.
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
        cost = -np.log((probabilities * one_hot).sum(1)).mean()
        return float(cost), float(np.mean(probabilities.argmax(1) == targets))

    seconds = [timed(learn) for _ in range(arguments.epochs)]
    tests, truths = read("t10k")
    accuracy = np.mean((weights @ tests.T + bias).argmax(0) == truths)
    return {"epochs": seconds, "accuracy": float(accuracy)}


def fit(
    shape: tuple[int, ...], train: Sequence[Any], test: Sequence[Any], **settings: int
) -> tuple[Any, Result]:
    """Build the softmax layer in Keras, ``fit`` and ``evaluate`` it."""
    import keras

    keras.utils.set_random_seed(0)
    softmax = keras.layers.Dense(10, activation="softmax")
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), softmax])
    optimizer = keras.optimizers.SGD(LEARNING_RATE)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    model.fit(*train, verbose=0, callbacks=[clock], **settings)
    _, accuracy = model.evaluate(*test, verbose=0)
    return model, {"epochs": np.diff(ends).tolist(), "accuracy": accuracy}


def read(split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read images, float32 (n, 784) in [0, 1], and labels (n,) of ``train`` or ``t10k``."""
    with gzip.open(MNIST / f"{split}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(MNIST / f"{split}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    held_out = HELD_OUT if split == "train" else 0
    return images[held_out:].astype(np.float32) / np.float32(255), labels[held_out:]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call of ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


SIDES: Final[dict[str, Callable[[argparse.Namespace], Result]]] = {
    "kmnist": run_kmnist,
    "numpy": run_numpy,
    "tfds": run_tfds,
    "keras": run_keras,
}


if __name__ == "__main__":
    main()
