"""Requests of pictures that promise far more than they hold: pixels, scans, frames, texts.

Each is made byte by byte of what the formats allow, and is a valid picture unless stated otherwise.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from PIL import Image

from tests.pictures.kinds import encode

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
)


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def deflated(size: int) -> bytes:
    """``size`` zeros, compressed to a thousandth."""
    compressor = zlib.compressobj(9)
    block = bytes(2**20)
    parts = [compressor.compress(block[: min(2**20, size - at)]) for at in range(0, size, 2**20)]
    return b"".join([*parts, compressor.flush()])


def png(
    width: int,
    height: int,
    *,
    bits: int = 8,
    colour: int = 6,
    interlaced: bool = False,
    chunks: bytes = b"",
) -> bytes:
    """A PNG of zeros with all its chunks; ``colour`` is its colour type, 6 for RGBA."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    shapes = [(height, width)]
    if interlaced:
        shapes = [
            (-(-(height - y) // dy), -(-(width - x) // dx))
            for x, y, dx, dy in (*_PASSES, (0, 1, 1, 2))
            if height > y and width > x
        ]
    size = sum(rows * (1 + -(-across * bits * _CHANNELS[colour] // 8)) for rows, across in shapes)
    palette = chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    data = palette + chunk(b"IDAT", deflated(size)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunks + data


def png_with_texts(count: int) -> bytes:
    """A small PNG with compressed texts of 7.9 MB each."""
    text = chunk(b"zTXt", b"k\0\0" + deflated(7_900_000))
    return png(28, 28, chunks=text * count)


def png_with_a_long_chunk(name: bytes, *, last: bool = False) -> bytes:
    """A small PNG with a chunk that claims 700 MB, before or after the pixels. Not valid."""
    picture = png(28, 28)
    at = picture.index(b"IEND" if last else b"IDAT") - 4
    return picture[:at] + struct.pack(">I", 700_000_000) + name + bytes(100) + picture[at:]


def png_with_chunks(count: int) -> bytes:
    """A small PNG with many chunks without content."""
    return png(28, 28, chunks=chunk(b"abCd", b"") * count)


def jpeg(width: int, height: int, mode: str = "RGB", **options: Any) -> bytes:
    """A black JPEG."""
    return encode(Image.new(mode, (width, height)), "JPEG", **options)


def jpeg_with_scans(width: int, height: int, count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until it has ``count`` scans."""
    picture = jpeg(width, height, "L", progressive=True)
    last, end = picture.rindex(b"\xff\xda"), picture.rindex(b"\xff\xd9")
    more = count - picture.count(b"\xff\xda\x00")
    return picture[:end] + picture[last:end] * more + picture[end:]


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF of frames of one pixel on a large screen, each of which a decoder enlarges."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return screen + frame * frames + b"\x3b"


def webp(width: int, height: int, **options: Any) -> bytes:
    """A transparent WebP, lossless unless the options say otherwise."""
    picture = Image.new("RGBA", (width, height), (9, 9, 9, 0))
    return encode(picture, "WEBP", **{"lossless": True, **options})


def webp_in_a_small_canvas(width: int, height: int) -> bytes:
    """A lossless WebP of that size in a canvas of 10 by 10 pixels. Not valid."""
    inner = webp(width, height)[12:]
    inner = inner[inner.index(b"VP8L") :]
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes([0x10, 0, 0, 0]) + b"\x09\0\0\x09\0\0"
    return b"RIFF" + struct.pack("<I", 4 + len(canvas + inner)) + b"WEBP" + canvas + inner


def animated_webp(width: int, height: int, frames: int) -> bytes:
    """An animation on a large canvas."""
    pictures = [Image.new("RGB", (width, height), (n * 99 % 256,) * 3) for n in range(frames)]
    file = io.BytesIO()
    pictures[0].save(file, "WEBP", save_all=True, append_images=pictures[1:], quality=0)
    return file.getvalue()


def bmp(width: int, height: int) -> bytes:
    """The header of a BMP of 32 bits, without pixels. Not valid."""
    sizes = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 32, 0, 0, 0, 0, 0, 0)
    return b"BM" + bytes(8) + struct.pack("<I", 54) + sizes


def noise(side: int, seed: int) -> bytes:
    """A PNG of noise, in which finding ink takes long."""
    values = np.random.default_rng(seed).integers(0, 256, (side, side))
    return encode(values.astype(np.uint8))


def maze(side: int = 128) -> bytes:
    """One winding line, along which the search for connected parts takes longest. RGBA."""
    turns = 32
    line = np.full((128, 128), 255, np.uint8)
    step = 128 // turns
    for turn in range(turns):
        line[step * turn] = 0
        line[step * turn : step * (turn + 1) + 1, -1 if turn % 2 == 0 else 0] = 0
    grey = np.asarray(Image.fromarray(line).resize((side, side), Image.Resampling.NEAREST))
    return encode(np.dstack([grey, grey, grey, np.full_like(grey, 255)]))


# Requests of up to about 1 MB, each a list of pictures; made when they are called.
REQUESTS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "PNG, RGBA of 50 megapixels": lambda: [png(7000, 7140)],
    "PNG, 16 bits": lambda: [png(7000, 7140, bits=16)],
    "PNG, 16 bits, interlaced": lambda: [png(7000, 7140, bits=16, interlaced=True)],
    "PNG, 1 bit, interlaced": lambda: [png(7000, 7140, bits=1, colour=0, interlaced=True)],
    "PNG, palette": lambda: [png(7000, 7140, colour=3)],
    "PNG, 1 pixel wide": lambda: [png(1, 999_999, colour=0)],
    "PNG, 60 pixels wide, interlaced": lambda: [png(60, 800_000, colour=0, interlaced=True)],
    "PNG, RGBA of 50 megapixels, four": lambda: [png(7000, 7140)] * 4,
    "PNG, RGBA of 2047 pixels, 11": lambda: [png(2047, 2047)] * 11,
    "PNG, RGBA of 2047 pixels, 30": lambda: [png(2047, 2047)] * 30,
    "PNG, 120 compressed texts": lambda: [png_with_texts(120)],
    "PNG, compressed text each, 28": lambda: [png_with_texts(1)] * 28,
    "PNG, compressed text each, 120": lambda: [png_with_texts(1)] * 120,
    "PNG, a chunk that claims 700 MB": lambda: [png_with_a_long_chunk(b"tEXt")],
    "PNG, the same after the pixels": lambda: [png_with_a_long_chunk(b"zTXt", last=True)],
    "PNG, 80,000 chunks": lambda: [png_with_chunks(80_000)],
    "PNG, 190 chunks each, 50": lambda: [png_with_chunks(190)] * 50,
    "PNG, 1 pixel, 15,000": lambda: [png(1, 1, colour=0)] * 15_000,
    "PNG, noise, 50": lambda: [noise(28, seed) for seed in range(50)],
    "PNG, noise, 1,000": lambda: [noise(28, seed) for seed in range(1000)],
    "PNG, maze, 50": lambda: [maze()] * 50,
    "PNG, maze of a megapixel, 30": lambda: [maze(1000) + bytes(20_000)] * 30,
    "JPEG, 48 megapixels": lambda: [jpeg(8000, 6000)],
    "JPEG, progressive, 48 megapixels": lambda: [jpeg(8000, 6000, progressive=True, subsampling=0)],
    "JPEG, progressive, CMYK, 48 megapixels": lambda: [jpeg(8000, 6000, "CMYK", progressive=True)],
    "JPEG, progressive, CMYK, 37 megapixels": lambda: [jpeg(7000, 5350, "CMYK", progressive=True)],
    "JPEG, 32 scans, 50 megapixels": lambda: [jpeg_with_scans(8000, 6250, 32)],
    "JPEG, 1,000 scans, 50 megapixels": lambda: [jpeg_with_scans(8000, 6250, 1000)],
    "JPEG, 32 scans of a megapixel, 28": lambda: [jpeg_with_scans(1000, 1000, 32)] * 28,
    "GIF, 1,000 frames": lambda: [gif(1400, 1400, 1000)],
    "WebP, lossless, 50 megapixels": lambda: [webp(7000, 7140)],
    "WebP, lossy with opacity, 50 megapixels": lambda: [webp(7000, 7140, lossless=False)],
    "WebP, 50 megapixels in a small canvas": lambda: [webp_in_a_small_canvas(7000, 7140)],
    "WebP, 30 frames": lambda: [animated_webp(1500, 1500, 30)],
    "BMP, a header": lambda: [bmp(7000, -7000), bmp(-(2**31), 1), bmp(1, -(2**31))],
}
