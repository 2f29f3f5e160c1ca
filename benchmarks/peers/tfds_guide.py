"""The pipeline of TFDS's own guide to Keras, as a script: load, fit, evaluate, export.

    python benchmarks/peers/tfds_guide.py --data-dir DIR [--epochs 15] [--output DIR]

The guide (https://www.tensorflow.org/datasets/keras_example) maps each example, caches, shuffles,
batches and prefetches. Here it has this project's model, batch size, optimizer, epochs and 55,000
training images; it draws, validates and checks nothing. DIR holds MNIST as TFDS prepares it:
``python -m benchmarks.prepare DIR`` makes it without a network. Prints one JSON line.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--output", type=Path, help="where to export to; nowhere if not given")
    flags = parser.parse_args()

    tf.keras.utils.set_random_seed(0)
    (train, test), info = tfds.load(
        "mnist",
        split=["train[5000:]", "test"],
        data_dir=flags.data_dir,
        download=False,
        shuffle_files=True,
        as_supervised=True,
        with_info=True,
    )
    train = train.map(normalize, num_parallel_calls=tf.data.AUTOTUNE)
    train = train.cache()
    train = train.shuffle(info.splits["train[5000:]"].num_examples)
    train = train.batch(100)
    train = train.prefetch(tf.data.AUTOTUNE)
    test = test.map(normalize, num_parallel_calls=tf.data.AUTOTUNE)
    test = test.batch(100).cache().prefetch(tf.data.AUTOTUNE)

    model = tf.keras.Sequential(
        [
            tf.keras.Input((28, 28, 1)),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=tf.keras.optimizers.SGD(0.1),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    starts: list[float] = []
    stops: list[float] = []
    clock = tf.keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: starts.append(time.perf_counter()),
        on_epoch_end=lambda *_: stops.append(time.perf_counter()),
    )
    model.fit(train, epochs=flags.epochs, verbose=0, callbacks=[clock])
    _, accuracy = model.evaluate(test, verbose=0)
    if flags.output:
        model.export(flags.output, verbose=False)
    seconds = [stop - start for start, stop in zip(starts, stops, strict=True)]
    packages = ("tensorflow", "keras", "tensorflow-datasets")
    print(
        json.dumps(
            {
                "first_epoch": seconds[0],
                "epochs": seconds[1:],
                "test_accuracy": accuracy,
                "versions": {name: version(name) for name in packages},
            }
        )
    )


def normalize(image: Any, label: Any) -> tuple[Any, Any]:
    """uint8 → float32 in [0, 1], an example at a time."""
    return tf.cast(image, tf.float32) / 255.0, label


if __name__ == "__main__":
    main()
