"""A batch job: every picture of a folder to one line of CSV, many requests under way at a time.

::

    kmnist serve &
    python examples/batch.py FOLDER > digits.csv

It needs only requirements-client.txt. ``$KMNIST_SERVER`` says whom to ask. A picture that cannot
be read costs its own line, not the job; a server that restarts costs some seconds.
"""

import asyncio
import csv
import os
import sys
from pathlib import Path

from kmnist.client import AsyncClient, InvalidInputError

AT_A_TIME = 8
KINDS = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"}


async def tell(
    client: AsyncClient, picture: Path, places: asyncio.Semaphore
) -> tuple[str, str, str, str]:
    """One line: the file, its digit, the probability, or what is wrong with it."""
    async with places:
        try:
            (prediction,) = await client.predict_pictures(picture)
        except InvalidInputError as error:
            return picture.name, "", "", str(error)
    return picture.name, prediction.class_name, f"{prediction.probability:.4f}", ""


async def main(pictures: list[Path]) -> None:
    places = asyncio.Semaphore(AT_A_TIME)
    server = os.environ.get("KMNIST_SERVER", "grpc://localhost:8500")
    # Enough retries to wait for a server that is being restarted.
    async with AsyncClient(server, timeout=120, retries=100) as client:
        lines = await asyncio.gather(*(tell(client, picture, places) for picture in pictures))
    out = csv.writer(sys.stdout)
    out.writerow(["picture", "digit", "probability", "error"])
    out.writerows(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python examples/batch.py FOLDER")
    files = Path(sys.argv[1]).iterdir()
    asyncio.run(main(sorted(path for path in files if path.suffix.lower() in KINDS)))
