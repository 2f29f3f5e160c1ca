"""Cost of hostile requests of pictures on a server.

    kmnist serve --json & python -m benchmarks.hostile http://localhost:8501 $! [WORD]

Each request, of up to about 1 MB, is sent once, or only those with WORD in their name. The second
argument is the server's process on this machine: its time, and how far its memory rises above what it
had before the request, are read from /proc. What the allocator keeps of a request is not seen again in
the next one: for an exact figure of one request, start a server for it alone.
"""

import base64
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

from benchmarks.harness import memory
from tests.pictures import hostile


def noise(side: int) -> bytes:
    """Return a PNG of noise, in which finding ink takes long."""
    file = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


# Each a list of pictures; made when they are called.
REQUESTS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "PNG, RGBA of 50 megapixels": lambda: [hostile.png(7000, 7140)],
    "PNG, RGBA of 2047 pixels, 11": lambda: [hostile.png(2047, 2047)] * 11,
    "PNG, 120 compressed texts": lambda: [hostile.png_with_texts(120)],
    "PNG, a compressed text each, 28": lambda: [hostile.png_with_texts(1)] * 28,
    "PNG, 190 chunks each, 50": lambda: [hostile.png_with_chunks(190)] * 50,
    "PNG, noise, 50": lambda: [noise(28)] * 50,
    "PNG, noise of a megapixel": lambda: [noise(1000)],
    "JPEG, progressive, 48 megapixels": lambda: [hostile.jpeg(8000, 6000, progressive=True)],
    "JPEG, 32 scans, 50 megapixels": lambda: [hostile.jpeg_with_scans(8000, 6250, 32)],
    "JPEG, 32 scans of a megapixel, 28": lambda: [hostile.jpeg_with_scans(1000, 1000, 32)] * 28,
    "GIF, 1,000 frames": lambda: [hostile.gif(1400, 1400, 1000)],
    "WebP, lossless, 50 megapixels": lambda: [hostile.webp(7000, 7140)],
    "WebP, 30 frames": lambda: [hostile.animated_webp(1500, 1500, 30)],
}


def main(url: str, pid: str, word: str = "") -> None:
    """Print a line for each request."""
    post(url, [noise(28)])
    for name, pictures in REQUESTS.items():
        if word in name:
            print(measured(url, pid, name, pictures()), flush=True)


def measured(url: str, pid: str, name: str, pictures: list[bytes]) -> str:
    """Send a request; return a line with the seconds of a core and the MB of memory that it costs."""
    Path("/proc", pid, "clear_refs").write_text("5", "utf-8")  # resets the peak
    seconds, resident = processor_time(pid), memory("VmRSS", pid)
    answer = post(url, pictures)
    seconds, peak = processor_time(pid) - seconds, memory("VmHWM", pid) - resident
    size = sum(map(len, pictures)) / 1e3
    return (
        f"{name:36} {size:5.0f} KB {seconds:5.2f} s {peak:5.0f} MB  {' '.join(answer.split())[:90]}"
    )


def post(url: str, pictures: list[bytes]) -> str:
    """Send a request; return how it was answered."""
    encoded = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]
    body = json.dumps({"signature_name": "pictures", "inputs": encoded}).encode()
    try:
        with urlopen(Request(f"{url}/v1/models/kmnist:predict", body), timeout=300) as answer:
            return f"{len(json.load(answer)['outputs']['class_ids'])} answers"
    except HTTPError as error:
        with error:
            return f"{error.code} {json.load(error)['error']}"


def processor_time(pid: str) -> float:
    """Return the seconds of a core that a process has used."""
    user, system = Path("/proc", pid, "stat").read_text("utf-8").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(*sys.argv[1:])
