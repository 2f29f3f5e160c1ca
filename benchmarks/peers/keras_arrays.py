"""Keras ``fit`` on float arrays: what most examples of Keras do.

python -m benchmarks.peers.keras_arrays [--epochs 15]
"""

import time

import keras

from benchmarks.peers.mnist import BATCH, LEARNING_RATE, answer, parse, read


def main() -> None:
    epochs = parse(__doc__).epochs
    images, labels = read("train")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10, activation="softmax")])
    model.compile(
        optimizer=keras.optimizers.SGD(LEARNING_RATE),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    starts, stops = [], []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: starts.append(time.perf_counter()),
        on_epoch_end=lambda *_: stops.append(time.perf_counter()),
    )
    model.fit(images, labels, BATCH, epochs, verbose=0, callbacks=[clock])
    _, accuracy = model.evaluate(*read("t10k"), verbose=0)
    seconds = [stop - start for start, stop in zip(starts, stops, strict=True)]
    answer(seconds, accuracy, "keras", "tensorflow")


if __name__ == "__main__":
    main()
