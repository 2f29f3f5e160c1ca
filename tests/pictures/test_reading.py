"""read_pictures: pictures of every kind become images like those of MNIST."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from kmnist import Split, build_model, load_dataset, train
from kmnist.pictures import read_pictures
from tests.pictures.conftest import Read
from tests.pictures.kinds import KINDS, encode, photograph

Classify: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


@pytest.fixture(scope="module")
def classify() -> Classify:
    """A model trained on the bundled MNIST for three epochs."""
    model = train(build_model(), load_dataset("mnist"), epochs=3).model

    def predict(images: NDArray[np.uint8]) -> Any:
        return model.predict(images, verbose=0).argmax(1)

    return predict


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_accuracy_on_every_kind_of_picture_is_within_six_points(
    kind: str, digits: Split, classify: Classify, read: Read
) -> None:
    pictures = [
        KINDS[kind](image, np.random.default_rng(i)) for i, image in enumerate(digits.images)
    ]
    accuracy = np.mean(classify(digits.images) == digits.labels)
    assert np.mean(classify(read(*pictures)) == digits.labels) >= accuracy - 0.06


def test_an_image_of_the_data_set_is_unchanged(digits: Split, read: Read) -> None:
    np.testing.assert_array_equal(read(*map(encode, digits.images)), digits.images)


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


def test_a_photograph_is_turned_upright(sheet: NDArray[np.uint8], read: Read) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = encode(np.rot90(sheet), "JPEG", quality=95, exif=exif)
    turned, upright, image = read(encode(np.rot90(sheet)), encode(sheet), photo).astype(int)
    assert np.abs(image - upright).mean() < 5
    assert np.abs(turned - upright).mean() > 20


def test_no_pictures_give_no_images(read: Read) -> None:
    images = read()
    assert images.shape == (0, 28, 28)
    assert images.dtype == np.uint8


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


def test_an_invalid_picture_is_rejected_by_its_index(sheet: NDArray[np.uint8], read: Read) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="Picture 1, 10 bytes, is no PNG"):
        read(encode(sheet), b"no picture")


def test_the_exported_graph_calls_no_python(sheet: NDArray[np.uint8], tmp_path: Path) -> None:
    module = tf.Module()
    module.read = tf.function(read_pictures, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path), signatures=module.read)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    pictures = tf.constant([encode(sheet), encode(255 - sheet)])
    (images,) = served(pictures).values()
    np.testing.assert_array_equal(images, read_pictures(pictures))
    graph = served.graph.as_graph_def()
    used = {node.op for f in graph.library.function for node in f.node_def}
    assert "DecodeImage" in used
    assert not {op for op in used if "PyFunc" in op or "WebP" in op}


def test_images_may_have_another_shape_and_extent(sheet: NDArray[np.uint8]) -> None:
    image = read_pictures([encode(sheet)], (56, 40), extent=0.5).numpy()[0]
    rows, columns = np.nonzero(image > 127)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20


def test_without_an_extent_a_picture_is_scaled_to_fit() -> None:
    picture = np.full((10, 20), 200, np.uint8)
    image = read_pictures([encode(picture)], extent=None, background=None).numpy()[0].astype(int)
    assert np.abs(image - 200).max() <= 1


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
