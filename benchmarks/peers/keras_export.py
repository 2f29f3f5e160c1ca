"""Keras' own export of the same model.

    python -m benchmarks.peers.keras_export --loop plain|loaded --output DIR

``loaded`` also loads what was written and asks it once, the least that could be called a check.
Prints one JSON line: the seconds, the signatures and the bytes on disk.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loop", choices=("plain", "loaded"), required=True)
    parser.add_argument("--output", type=Path, required=True)
    flags = parser.parse_args()
    model = tf.keras.Sequential(
        [
            tf.keras.Input((28, 28), dtype="uint8"),
            tf.keras.layers.Rescaling(1 / 255),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    images = np.zeros((20, 28, 28), np.uint8)
    expected = model(images).numpy()
    folder = flags.output / flags.loop
    started = time.perf_counter()
    model.export(folder, verbose=False)
    if flags.loop == "loaded":
        loaded = tf.saved_model.load(str(folder))
        assert np.allclose(loaded.serve(images), expected, atol=1e-5)
    seconds = time.perf_counter() - started
    print(told(seconds, folder, tf.saved_model.load(str(folder))))


def told(seconds: float, folder: Path, loaded: Any) -> str:
    """The line that an export prints."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return json.dumps({"seconds": seconds, "signatures": len(loaded.signatures), "bytes": size})


if __name__ == "__main__":
    main()
