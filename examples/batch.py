"""Classify every picture of a folder: one line of CSV for each, several requests at a time.

::

    kmnist serve &
    python examples/batch.py FOLDER > digits.csv

It needs only requirements-client.txt. ``$KMNIST_SERVER`` is the address of the server. A picture
that cannot be read gets an error in its line; while a server restarts, the job waits.
"""

import asyncio
import csv
import os
import sys
from pathlib import Path
from typing import Final

from kmnist.client import AsyncClient, InvalidInputError

CONCURRENCY: Final = 8
SUFFIXES: Final = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


async def classify(client: AsyncClient, picture: Path, limit: asyncio.Semaphore) -> list[str]:
    """Return a line: the file's name, its digit and probability, or the error."""
    async with limit:
        try:
            (prediction,) = await client.predict_pictures(picture)
        except InvalidInputError as error:
            return [picture.name, "", "", str(error)]
    return [picture.name, prediction.class_name, f"{prediction.probability:.4f}", ""]


async def main(pictures: list[Path]) -> None:
    """Classify ``pictures`` and write the lines to standard output."""
    limit = asyncio.Semaphore(CONCURRENCY)
    server = os.environ.get("KMNIST_SERVER", "grpc://localhost:8500")
    # With 100 retries a request outlasts the restart of a server.
    async with AsyncClient(server, timeout=120, retries=100) as client:
        lines = await asyncio.gather(*(classify(client, picture, limit) for picture in pictures))
    writer = csv.writer(sys.stdout)
    writer.writerow(["picture", "digit", "probability", "error"])
    writer.writerows(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python examples/batch.py FOLDER")
    files = Path(sys.argv[1]).iterdir()
    asyncio.run(main(sorted(path for path in files if path.suffix.lower() in SUFFIXES)))
