"""Classify a folder of pictures on all machines of a Ray cluster; write Parquet files.

::

    pip install 'ray[data]'
    python examples/ray_batch.py FOLDER models/kmnist/1 OUTPUT [PROCESSES]

For more pictures than one machine classifies in time: `kmnist predict FOLDER --output FILE` needs no Ray.
The folders must have the same paths on all machines. Run with Ray 2.60.
"""

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray.data

from kmnist import Client, predict_stream
from kmnist.server.local import LocalModel

SUFFIXES: Final = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


class Classifier:
    """A version, loaded once in each process of Ray."""

    def __init__(self, version: str) -> None:
        folder = Path(version)
        self.client = Client(transport=LocalModel(folder.parent, int(folder.name)))

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Classify the pictures at ``rows["path"]``."""
        results = list(predict_stream(rows["path"].tolist(), self.client))
        return {
            "path": rows["path"],
            "class_name": np.array([result.class_name for result in results]),
            "probability": np.array([result.probability for result in results]),
            "error": np.array([result.error for result in results]),
        }


def main(folder: str, version: str, output: str, processes: str = "2") -> None:
    """Write a row for each picture below ``folder``."""
    paths = (str(path) for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    ray.data.from_items([{"path": path} for path in sorted(paths)]).map_batches(
        Classifier,
        fn_constructor_args=[str(Path(version).resolve())],
        batch_size=256,
        concurrency=int(processes),
    ).write_parquet(output)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: python examples/ray_batch.py FOLDER VERSION OUTPUT [PROCESSES]")
    main(*sys.argv[1:])
