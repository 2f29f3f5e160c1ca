"""Classify every PNG file of a folder through a server: a line of CSV for each.

::

    kmnist serve &
    python examples/batch.py FOLDER > digits.csv

``kmnist predict FOLDER --output digits.csv`` does the same and can be resumed; this is how to
do it in a program. It needs no TensorFlow. ``$KMNIST_SERVER`` is the address of the
server. While a server restarts, the job waits.
"""

import csv
import os
import sys
from pathlib import Path

from kmnist import Client, predict_stream


def main(folder: str) -> None:
    """Classify the pictures of ``folder`` and write the lines to standard output."""
    paths = sorted(Path(folder).glob("*.png"))
    writer = csv.writer(sys.stdout)
    writer.writerow(["picture", "digit", "probability", "error"])
    server = os.environ.get("KMNIST_SERVER", "grpc://localhost:8500")
    # With 100 retries a request outlasts the restart of a server.
    with Client(server, timeout=120, retries=100) as client:
        for path, result in zip(paths, predict_stream(paths, client), strict=True):
            probability = "" if result.error else f"{result.probability:.4f}"
            writer.writerow([path.name, result.class_name, probability, result.error])


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python examples/batch.py FOLDER")
    main(sys.argv[1])
