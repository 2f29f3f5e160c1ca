"""Requests of pictures that promise far more than they hold: pixels, scans, frames, texts.

Each is made byte by byte of what the formats allow, and is a valid picture unless stated otherwise.
"""

import io
import struct
import zlib
from typing import Any

from PIL import Image

from tests.pictures.kinds import encode


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


def png(width: int, height: int, *, chunks: bytes = b"") -> bytes:
    """A transparent PNG with all its chunks."""
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    data = chunk(b"IDAT", deflated(height * (1 + 4 * width))) + chunk(b"IEND", b"")
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
