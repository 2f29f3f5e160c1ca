"""Limits of pictures and of requests, checked before anything is decoded."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import tensorflow as tf

from kmnist.pictures.limits import MAX_PICTURES, check_pictures
from tests.pictures import hostile
from tests.pictures.kinds import encode

Check: TypeAlias = Callable[[Sequence[bytes]], int]

SMALL = encode(np.zeros((20, 30), np.uint8))


@pytest.fixture(scope="module")
def check() -> Check:
    """A function from pictures to their number; nothing is decoded."""
    signature = [tf.TensorSpec([None], tf.string)]
    graph = tf.function(check_pictures, input_signature=signature, autograph=False)
    return lambda pictures: len(graph(tf.constant(list(pictures), tf.string)))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (b"", "Picture 1, 0 bytes, is no PNG, JPEG, BMP or still WebP. Send the bytes of the file"),
        (b"no picture", "Picture 1, 10 bytes, is no PNG"),
        (b"\xff\x0a" + bytes(50), "Picture 1, 52 bytes, is no PNG"),  # JPEG XL
        (hostile.gif(10, 10, 1), "Picture 1, 35 bytes, is no PNG"),
        (hostile.animated_webp(60, 60, 2), "Picture 1, .* is no PNG, JPEG, BMP or still WebP"),
        (hostile.png(100_000, 10), "Picture 1 has 100000 by 10 pixels; expected 1 to 50,000,000"),
        (hostile.png(10_000, 5001), "Picture 1 has 10000 by 5001 pixels"),
        (hostile.png(2**31, 0), "Picture 1 has 2147483648 by 0 pixels"),
        (b"\x89PNG\r\n\x1a\n", "Picture 1 has 0 by 0 pixels"),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 60, "Picture 1 has 4294967295 by 4294967295 pixels"),
        (hostile.png_with_a_long_chunk(b"tEXt"), "Picture 1 is a PNG whose chunks do not fit"),
        (hostile.png_with_a_long_chunk(b"zTXt", last=True), "Picture 1 is a PNG whose chunks"),
        (hostile.png_with_chunks(300), "Picture 1 is a PNG whose chunks .* are too many"),
        (SMALL[:-20], "Picture 1 is a PNG whose chunks do not fit into it"),
        (hostile.bmp(7100, -7100), "Picture 1 has 7100 by 7100 pixels"),
        (hostile.bmp(1, -(2**31)), "Picture 1 has 1 by 2147483648 pixels"),
        (hostile.bmp(-1, 1), "Picture 1 has 4294967295 by 1 pixels"),
        (hostile.jpeg(7000, 6000, "CMYK"), "Picture 1 has 7000 by 6000 pixels"),
        (hostile.webp(7000, 7200), "Picture 1 has 7000 by 7200 pixels"),
        (hostile.webp(7000, 7200, lossless=False), "Picture 1 has 7000 by 7200 pixels"),
        (hostile.jpeg_with_scans(80, 60, 33), "Picture 1 has more than 32 scans. Save it again"),
        (b"\xff\xd8\xff" + bytes(50_000_000), "Picture 1 has 50000003 bytes; expected at most"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_picture_beyond_a_limit_is_rejected_by_its_index(
    picture: bytes, message: str, check: Check
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        check([SMALL, picture])


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([SMALL] * 101, "Received 101 pictures, larger than maximum input batch size 100"),
        (
            [hostile.png(5000, 5000)] * 3,
            "Received 76500000 pixels, with 500,000 more for each picture, larger than maximum",
        ),
        ([hostile.png_with_texts(2)] * 25, r"Received 625\d{5} pixels"),
    ],
    ids=["pictures", "pixels", "texts"],
)
def test_a_request_beyond_a_limit_is_rejected(
    pictures: list[bytes], message: str, check: Check
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        check(pictures)


def test_the_limits_are_those_of_security_md(check: Check) -> None:
    page = (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")
    row = re.search(
        r"(\d+), and (\d+) million pixels, with (\d) for each byte; each picture counts as (\S+) more",
        page,
    )
    assert row
    count, millions, per_byte, extra = (int(number.replace(",", "")) for number in row.groups())
    with pytest.raises(tf.errors.InvalidArgumentError, match=f" {count + 1} .* size {count};"):
        check([SMALL] * (count + 1))
    pictures = [hostile.png(5000, 5000)] * 3
    total, most = 3 * (25_000_000 + extra), millions * 10**6 + per_byte * sum(map(len, pictures))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{total} pixels.* maximum {most};"):
        check(pictures)


def test_honest_photographs_are_within_the_limits(check: Check) -> None:
    thumbnail = encode(np.zeros((120, 160), np.uint8), "JPEG", progressive=True)
    photo = hostile.jpeg(8000, 6000, progressive=True, exif=b"Exif\0\0" + thumbnail)
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 4)).astype(np.uint8)
    # As many bytes as a photograph of 12 megapixels has; decoders ignore what follows a picture.
    photos = [hostile.jpeg(4000, 3000) + bytes(2_000_000)] * 8
    small = [encode(noise[:20, :30, :3], form) for form in ("JPEG", "BMP", "WEBP")]
    for pictures in (
        [],
        [photo + thumbnail],  # with a second picture after it
        [encode(noise) + b"after the end"],  # in many chunks
        photos,
        [SMALL] * MAX_PICTURES,
        [*small, hostile.bmp(30, -20), encode(noise[:20, :30], "WEBP", lossless=True)],
    ):
        assert check(pictures) == len(pictures)
