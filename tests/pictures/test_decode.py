"""Pictures of every kind become images like those of MNIST."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from kmnist import Split, build_model, load_dataset, train
from kmnist.pictures.decode import LONGER_SIDE, decode_picture, grey_and_opacity, read_pictures
from tests.pictures.conftest import Read
from tests.pictures.hostile import webp_in_a_small_canvas
from tests.pictures.kinds import KINDS, encode, photograph


@pytest.fixture(scope="module")
def accuracy(digits: Split) -> Callable[[NDArray[np.uint8]], float]:
    """A function from images of the digits to the accuracy of a model trained on MNIST."""
    model = train(build_model(), load_dataset("mnist"), epochs=3).model
    return lambda images: float(
        np.mean(model.predict(images, verbose=0).argmax(1) == digits.labels)
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_accuracy_on_every_kind_of_picture_is_within_six_points(
    kind: str, digits: Split, accuracy: Callable[[NDArray[np.uint8]], float], read: Read
) -> None:
    pictures = [
        KINDS[kind](image, np.random.default_rng(i)) for i, image in enumerate(digits.images)
    ]
    assert accuracy(read(*pictures)) >= accuracy(digits.images) - 0.06


def test_an_image_of_the_data_set_is_unchanged(digits: Split, read: Read) -> None:
    np.testing.assert_array_equal(read(*map(encode, digits.images)), digits.images)
    assert read().shape == (0, 28, 28)


def test_a_drawing_gets_the_size_and_position_of_a_digit(read: Read) -> None:
    drawing = np.zeros((300, 500), np.uint8)
    drawing[40:140, 350:360] = 255  # a 1, 100 pixels tall
    image = read(encode(drawing))[0]
    rows, columns = np.nonzero(image > 127)
    assert rows.max() - rows.min() + 1 == 20
    assert abs(np.average(range(28), weights=image.sum(1)) - 14) <= 0.5
    assert abs(np.average(range(28), weights=image.sum(0)) - 14) <= 0.5
    assert np.ptp(columns) == 1  # 2.2 pixels wide, as in the drawing


def test_formats_may_be_mixed_in_one_request(sheet: NDArray[np.uint8], read: Read) -> None:
    picture = Image.fromarray(sheet)
    files = {
        "reference": encode(sheet),
        "16 bits": encode(sheet.astype(np.uint16) * 257),
        "progressive": encode(sheet, "JPEG", progressive=True),
        "lossless": encode(sheet, "WEBP", lossless=True),
    }
    modes = {
        "PNG": ["1", "P", "LA"],
        "JPEG": ["L", "RGB", "CMYK"],
        "BMP": ["RGB", "RGBA"],
        "WEBP": ["RGB", "RGBA"],
    }
    files |= {
        f"{mode} {name}": encode(picture.convert(mode), name)
        for name in modes
        for mode in modes[name]
    }
    expected, *images = read(*files.values()).astype(int)
    difference = [np.abs(image - expected).mean() for image in images]
    assert max(difference) < 1.5, dict(zip([*files][1:], difference, strict=True))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
        (0, None),  # invalid
        (9, None),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_photograph_is_turned_upright(
    value: int, stored: Image.Transpose | None, order: str, sheet: NDArray[np.uint8]
) -> None:
    picture, exif = Image.fromarray(sheet), Image.Exif()
    exif.endian = order
    exif[0x010F] = "maker"
    exif[0x0112] = value
    taken = picture if stored is None else picture.transpose(stored)
    pixels = decode_picture(encode(taken, "JPEG", quality=95, exif=exif)).numpy()
    assert np.abs(pixels.astype(int) - sheet[..., None]).mean() < 3


def test_colours_are_weighed_apart_from_opacity() -> None:
    pixels = [(255, 0, 0, 255), (0, 255, 0, 51), (0, 0, 255, 153), (9, 9, 9, 0)]
    grey, alpha = grey_and_opacity(tf.constant([pixels], tf.uint8))
    np.testing.assert_allclose(grey, [(0.299, 0.587, 0.114, 0)], atol=1e-6)
    np.testing.assert_allclose(alpha, [(1, 0.2, 0.6, 0)], atol=1e-6)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_large_picture_is_reduced(format: str, sheet: NDArray[np.uint8]) -> None:
    large = Image.fromarray(sheet).resize((3000, 2400))
    grey, alpha = grey_and_opacity(decode_picture(encode(np.asarray(large), format)))
    height = round(LONGER_SIDE * 0.8)
    expected = np.asarray(large.resize((LONGER_SIDE, height), Image.Resampling.BOX)) / 255
    assert np.abs(grey - expected).mean() < 0.01
    assert alpha.numpy().min() == 1


def test_hidden_colours_of_a_large_picture_do_not_show() -> None:
    pixels = np.zeros((1200, 1200, 4), np.uint8)
    pixels[:, ::2] = (51, 51, 51, 255)
    pixels[:, 1::2] = (255, 255, 255, 0)
    grey, alpha = grey_and_opacity(tf.constant(pixels))
    np.testing.assert_allclose(grey, np.full((LONGER_SIDE, LONGER_SIDE), 0.2), atol=1e-5)
    assert alpha.numpy().mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("tone", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (28, 28), (300, 200), (300, 200, 4)])
def test_a_picture_of_one_colour_gives_a_black_image(
    tone: int, shape: tuple[int, ...], read: Read
) -> None:
    assert read(encode(np.full(shape, tone, np.uint8))).max() == 0


def test_most_photographs_of_an_empty_sheet_give_a_black_image(read: Read) -> None:
    sheets = [np.random.default_rng(seed) for seed in range(20)]
    photos = [encode(photograph(np.zeros((300, 240)), rng), "JPEG") for rng in sheets]
    assert np.mean(read(*photos).max((1, 2)) == 0) >= 0.7


GREY = np.zeros((60, 60), np.uint8)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (b"no picture", "Picture 1, 10 bytes, is no PNG"),
        (encode(GREY).replace(b"IDAT", b"IDAt"), "Invalid PNG"),
        (encode(GREY, "JPEG")[:-20], "Invalid JPEG"),
        (encode(GREY, "BMP")[:-20], "Input size should match"),
        (encode(GREY, "WEBP")[:-20], "Failed to decode WebP"),
        (webp_in_a_small_canvas(60, 60), "Failed to decode WebP"),
    ],
)
def test_a_damaged_file_is_rejected(picture: bytes, message: str, read: Read) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        read(encode(GREY), picture)


def test_the_exported_graph_calls_no_python(sheet: NDArray[np.uint8], tmp_path: Path) -> None:
    module = tf.Module()
    module.read = tf.function(read_pictures, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path), signatures=module.read)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    (images,) = served(tf.constant([encode(sheet), encode(255 - sheet)])).values()
    assert images.numpy().max() == 255
    used = {
        node.op for part in served.graph.as_graph_def().library.function for node in part.node_def
    }
    assert "DecodeImage" in used
    assert not {op for op in used if "PyFunc" in op or "WebP" in op}


def test_images_may_have_another_shape_and_extent(sheet: NDArray[np.uint8]) -> None:
    image = read_pictures([encode(sheet)], (56, 40), extent=0.5).numpy()[0]
    rows, columns = np.nonzero(image > 127)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20


def object_on(background: int) -> NDArray[np.uint8]:
    """A filled object of many tones, wider than high, as in Fashion-MNIST."""
    picture = np.zeros((20, 28), np.uint8)
    picture[2:-2, 3:-3] = np.linspace(60, 255, 22)
    return picture if background == 0 else 255 - picture


@pytest.mark.parametrize("background", [0, 255])
def test_without_an_extent_a_picture_gets_the_background_of_the_data(background: int) -> None:
    own, opposite = object_on(background), object_on(255 - background)
    opacity, black = object_on(0), np.zeros((20, 28), np.uint8)
    canvas = np.where(object_on(0) > 0, 255, 0).astype(np.uint8)
    pictures = {
        "own": encode(own),
        "inverted": encode(opposite),
        "black silhouette": encode(np.dstack([black, black, black, opacity])),
        "white silhouette": encode(np.dstack([black + 255] * 3 + [opacity])),
        "own tones on a transparent canvas": encode(np.dstack([own, own, own, canvas])),
    }
    images = read_pictures([*pictures.values()], extent=None, background=background / 255)
    for name, image in zip(pictures, images.numpy().astype(int), strict=True):
        assert np.abs(image[4:-4] - own).max() <= 1, name
        assert np.abs(image[:4] - background).max() <= 1, name


def test_without_a_background_no_picture_is_inverted() -> None:
    pictures = [encode(object_on(0)), encode(object_on(255))]
    images = read_pictures(pictures, extent=None, background=None).numpy().astype(int)
    assert np.abs(images[0, 4:-4] - object_on(0)).max() <= 1
    assert np.abs(images[1, 4:-4] - object_on(255)).max() <= 1
