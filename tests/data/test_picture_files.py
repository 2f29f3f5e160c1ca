"""Picture files: formats, sizes, colours, and files that cannot be read."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kmnist import Dataset
from kmnist.data.picture_files import Pictures, read_picture_files
from kmnist.errors import ColourError, InputError


@pytest.fixture(scope="module")
def seven(tiny_dataset: Dataset) -> NDArray[np.uint8]:
    """The first test image of MNIST."""
    image: NDArray[np.uint8] = tiny_dataset.test.images[0]
    return image


def encode(image: NDArray[np.uint8], form: str = "PNG", **settings: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, **settings)
    return buffer.getvalue()


def read(folder: Path, *contents: bytes, grey: bool = False) -> Pictures:
    paths = [folder / f"{number}.png" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return read_picture_files([str(path) for path in paths], grey=grey)


def test_any_format_is_read_whatever_the_name(seven: NDArray[np.uint8], tmp_path: Path) -> None:
    rgb = np.repeat(seven[..., None], 3, axis=2)
    opaque = np.dstack([rgb, np.full_like(seven, 255)])
    webp = encode(seven, "WEBP", lossless=True)
    exact = [seven, rgb, opaque, opaque[..., 2:]]
    contents = [*map(encode, exact), encode(rgb, "BMP"), encode(seven, "GIF"), webp]
    pictures = read(tmp_path, *contents, encode(seven, "JPEG", quality=100))
    for image in pictures.images[:-1]:
        assert np.array_equal(image, seven)
    assert np.abs(pictures.images[-1].astype(int) - seven).mean() < 2
    assert pictures.sizes == {(28, 28): 8}


def test_a_bmp_with_an_unused_fourth_byte_is_opaque(
    seven: NDArray[np.uint8], tmp_path: Path
) -> None:
    unused = np.dstack([seven, seven, seven, np.zeros_like(seven)])
    assert np.array_equal(read(tmp_path, encode(unused, "BMP")).images[0], seven)


def test_a_jpeg_is_turned_upright(seven: NDArray[np.uint8], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    turned = encode(np.rot90(seven).copy(), "JPEG", quality=100, exif=exif)
    image = read(tmp_path, turned).images[0]
    assert np.abs(image.astype(int) - seven).mean() < 2


def test_pictures_of_other_sizes_get_the_most_frequent_one(
    seven: NDArray[np.uint8], tmp_path: Path
) -> None:
    large = np.kron(seven, np.ones((2, 2), np.uint8))
    wide = np.full((28, 56), 200, np.uint8)
    wide[5:23, 10:46] = 0
    pictures = read(tmp_path, *map(encode, (large, seven, seven, wide)))
    assert pictures.sizes == {(28, 28): 2, (56, 56): 1, (28, 56): 1}
    assert np.array_equal(pictures.images[1], seven)
    assert np.abs(pictures.images[0].astype(int) - seven).mean() < 10
    # The aspect ratio is kept; beside the picture is its own background.
    fitted = pictures.images[3]
    assert fitted[[0, 6, 21, 27]].min() >= 195
    assert fitted[10:18, 6:22].max() == 0


def test_of_equally_frequent_sizes_the_smallest_is_taken(tmp_path: Path) -> None:
    sides = ((9, 8), (8, 9), (8, 10))
    pictures = read(tmp_path, *(encode(np.zeros(side, np.uint8)) for side in sides))
    assert pictures.images.shape == (3, 8, 9)


def test_colours_are_refused_or_converted_to_their_brightness(tmp_path: Path) -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    contents = encode(red[..., 0]), encode(red)
    with pytest.raises(ColourError, match=r"1\.png has colours; expected grey pictures; convert"):
        read(tmp_path, *contents)
    assert read(tmp_path, *contents, grey=True).images[:, 0, 0].tolist() == [200, 60]
    palette = io.BytesIO()
    Image.fromarray(red).quantize(4).save(palette, "PNG")
    with pytest.raises(ColourError, match=r"0\.png"):
        read(tmp_path, palette.getvalue())


def test_transparent_pictures_are_refused(seven: NDArray[np.uint8], tmp_path: Path) -> None:
    transparent = np.dstack([seven, 255 - seven])
    for grey in (False, True):
        with pytest.raises(InputError, match=r"0\.png has transparent pixels; expected opaque"):
            read(tmp_path, encode(transparent), grey=grey)


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "truncated JPEG", "other"])
def test_a_file_that_is_no_picture_is_named(
    seven: NDArray[np.uint8], tmp_path: Path, damage: str
) -> None:
    jpeg = encode(np.tile(seven, (9, 9)), "JPEG")
    damaged = {
        "text": b"not a picture",
        "empty": b"",
        "truncated": encode(seven)[:-60],
        "truncated JPEG": jpeg[: len(jpeg) // 2],
        "other": encode(seven, "TIFF"),
    }[damage]
    good = [encode(seven)] * 120
    with pytest.raises(
        InputError, match=r"110\.png cannot be decoded \(.+\); expected a PNG, "
    ) as e:
        read(tmp_path, *good[:110], damaged, *good[110:])
    assert "\n" not in str(e.value)
    assert "{{" not in str(e.value)
    with pytest.raises(InputError, match=r"/0\.png cannot be decoded"):
        read(tmp_path, damaged)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    path.mkdir()  # an error for root too
    with pytest.raises(InputError, match=r"0\.png cannot be read \(Is a directory\); make it"):
        read_picture_files([str(path)], grey=False)


def test_pictures_that_no_model_is_built_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pictures of 1×2049 pixels, such as .*; expected sides"):
        read(tmp_path, encode(np.zeros((1, 2049), np.uint8)))


def test_the_hash_depends_on_the_content_alone(tmp_path: Path) -> None:
    contents = [encode(np.full((2, 2), tone, np.uint8)) for tone in range(250)]
    hashes = read(tmp_path, *contents).hashes
    assert np.array_equal(read(tmp_path, *reversed(contents)).hashes, hashes[::-1])
    assert len(set(hashes)) == 250
    assert 0 <= hashes.min() < 0.05
    assert 0.95 < hashes.max() < 1


def test_names_in_any_encoding_are_read(seven: NDArray[np.uint8], tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    Path(path).write_bytes(encode(seven))
    assert np.array_equal(read_picture_files([path], grey=False).images[0], seven)
