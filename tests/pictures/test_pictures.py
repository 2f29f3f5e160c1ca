"""kmnist.pictures: what people send becomes an image as MNIST has them."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kmnist import build_model, load_dataset, train
from kmnist.pictures import MNIST_EXTENT, ink_extent, read_pictures
from kmnist.pictures.filters import components
from tests.pictures.kinds import KINDS, encode, photograph, sheet_of


@pytest.fixture(scope="module")
def read():
    graph = tf.function(read_pictures, input_signature=[tf.TensorSpec([None], tf.string)])
    return lambda *pictures: graph(tf.constant(list(pictures), tf.string)).numpy()


@pytest.fixture(scope="module")
def digits(tiny_dataset):
    """The first 100 test digits and their labels."""
    return tiny_dataset.test.images[:100], tiny_dataset.test.labels[:100]


@pytest.fixture(scope="module")
def classify():
    """A model that three epochs of the bundled MNIST taught."""
    model = train(build_model(), load_dataset("mnist"), epochs=3).model
    return lambda images: model.predict(images, verbose=0).argmax(1)


@pytest.fixture
def sheet(digits):
    """A black digit on a white sheet, uint8 (h, w)."""
    ink = sheet_of(digits[0][0], np.random.default_rng(0))
    return (255 * (1 - ink)).round().astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_stays_within_six_points(kind, digits, classify, read) -> None:
    images, labels = digits
    pictures = [KINDS[kind](image, np.random.default_rng(i)) for i, image in enumerate(images)]
    plain = np.mean(classify(images) == labels)
    assert np.mean(classify(read(*pictures)) == labels) >= plain - 0.06


def test_an_image_of_the_data_set_stays_as_it_is(digits, read) -> None:
    np.testing.assert_array_equal(read(*map(encode, digits[0])), digits[0])


def test_a_drawing_is_sized_and_centred_as_mnist(read) -> None:
    drawing = np.zeros((300, 500), np.uint8)
    drawing[40:140, 350:360] = 255  # a 1, 100 pixels tall
    image = read(encode(drawing))[0]
    rows, columns = np.nonzero(image > 127)
    assert rows.max() - rows.min() + 1 == 20
    assert abs(np.average(range(28), weights=image.sum(1)) - 14) <= 0.5
    assert abs(np.average(range(28), weights=image.sum(0)) - 14) <= 0.5
    assert set(columns) == {13, 14}  # 2.2 pixels wide, as the drawing was


FORMATS = [
    ("1", "PNG"),
    ("P", "PNG"),
    ("LA", "PNG"),
    ("L", "JPEG"),
    ("RGB", "JPEG"),
    ("CMYK", "JPEG"),
    ("L", "GIF"),
    ("RGB", "BMP"),
    ("RGBA", "BMP"),
    ("RGB", "WEBP"),
    ("RGBA", "WEBP"),
]


def saved(picture, name, **options):
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()


def test_formats_mix_in_one_request(sheet, read) -> None:
    picture = Image.fromarray(sheet)
    blank = Image.new("L", picture.size)
    files = {
        "reference": encode(sheet),
        "16 bits": saved(Image.fromarray(sheet.astype(np.uint16) * 257), "PNG"),
        "progressive": saved(picture, "JPEG", progressive=True),
        "lossless": saved(picture, "WEBP", lossless=True),
        "animated GIF": saved(picture, "GIF", save_all=True, append_images=[blank]),
        "animated WebP": saved(picture, "WEBP", save_all=True, append_images=[blank]),
    }
    files |= {f"{mode} {name}": saved(picture.convert(mode), name) for mode, name in FORMATS}
    expected, *images = read(*files.values()).astype(int)
    difference = [np.abs(image - expected).mean() for image in images]
    assert max(difference) < 1.5, dict(zip([*files][1:], difference, strict=True))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_a_photo_is_turned_upright(orientation, stored, order, sheet, read) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "maker"
    exif[0x0112] = orientation
    photo = saved(Image.fromarray(sheet).transpose(stored), "JPEG", quality=95, exif=exif)
    image, expected = read(photo, encode(sheet)).astype(int)
    assert np.abs(image - expected).mean() < 5


def test_a_turned_photo_is_another_picture(sheet, read) -> None:
    turned, upright = read(encode(np.rot90(sheet)), encode(sheet)).astype(int)
    assert np.abs(turned - upright).mean() > 20


def test_a_large_photo_is_reduced_as_it_is_decoded(sheet, read) -> None:
    large = np.asarray(Image.fromarray(sheet).resize((3000, 2500)))
    photo, drawing = read(encode(large, "JPEG"), encode(large)).astype(int)
    assert np.abs(photo - drawing).mean() < 5


def test_a_light_sheet_on_a_transparent_canvas_is_no_ink(sheet, read) -> None:
    height, width = sheet.shape
    canvas = np.zeros((height + 80, width + 80, 4), np.uint8)
    canvas[40:-40, 40:-40] = np.dstack([sheet, sheet, sheet, np.full_like(sheet, 255)])
    image, expected = read(encode(canvas), encode(sheet)).astype(int)
    assert np.abs(image - expected).mean() < 5


def test_no_pictures_give_no_images(read) -> None:
    images = read()
    assert images.shape == (0, 28, 28)
    assert images.dtype == np.uint8


@pytest.mark.parametrize("tone", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (28, 28), (300, 200), (300, 200, 4)])
def test_one_colour_gives_a_black_image(read, tone, shape) -> None:
    assert read(encode(np.full(shape, tone, np.uint8))).max() == 0


def test_most_photographs_of_an_empty_sheet_give_a_black_image(read) -> None:
    sheets = [np.random.default_rng(seed) for seed in range(20)]
    photos = [encode(photograph(np.zeros((300, 240)), rng), "JPEG") for rng in sheets]
    assert np.mean(read(*photos).max((1, 2)) == 0) >= 0.7


def promising(width: int, height: int) -> bytes:
    """The beginning of a PNG of that size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + check


GREY = np.zeros((60, 60), np.uint8)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (b"", "Picture 1, 0 bytes, is no PNG, JPEG, GIF, BMP or WebP. Send the bytes of the file"),
        (b"no picture", "Picture 1, 10 bytes, is no PNG"),
        (b"\xff\x0a" + bytes(50), "Picture 1, 52 bytes, is no PNG"),  # JPEG XL
        (promising(100_000, 100_000), "Picture 1 promises 100000 by 100000 pixels; from 1 to 50,0"),
        (promising(0, 10), "Picture 1 promises 0 by 10 pixels"),
        (b"\x89PNG\r\n\x1a\n", "Picture 1 promises 0 by 0 pixels"),
        (encode(GREY)[:-20], "Invalid PNG"),
        (encode(GREY, "JPEG")[:-20], "Invalid JPEG"),
        (encode(GREY, "GIF")[:-20], "Invalid GIF"),
        (encode(GREY, "BMP")[:-20], "Input size should match"),
        (encode(GREY, "WEBP")[:-20], "Failed to decode WebP"),
    ],
)
def test_a_broken_picture_is_refused(picture, message, read) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        read(encode(GREY), picture)


def test_the_graph_serves(sheet, tmp_path) -> None:
    """Exported, loaded and run: operations of TensorFlow's own, none of Python."""
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


def test_the_ink_of_another_shape_keeps_its_share(sheet) -> None:
    image = read_pictures([encode(sheet)], (56, 40), extent=0.5).numpy()[0]
    rows, columns = np.nonzero(image > 127)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20


def test_without_an_extent_a_picture_is_only_fitted() -> None:
    picture = np.full((10, 20), 200, np.uint8)
    expected = np.zeros((28, 28), np.uint8)
    expected[7:21] = 200
    image = read_pictures([encode(picture)], extent=None).numpy()[0].astype(int)
    assert np.abs(image[8:20] - 200).max() <= 1
    assert image[:6].max() == image[22:].max() == 0


def test_the_extent_of_mnist(tiny_dataset) -> None:
    assert ink_extent(tiny_dataset.train.images) == MNIST_EXTENT


def test_what_is_not_ink_on_black_has_no_extent(tiny_dataset) -> None:
    assert ink_extent(255 - tiny_dataset.train.images) is None


def test_components_are_told_apart() -> None:
    mask = np.array(
        [
            [1, 1, 1, 1, 0, 1],
            [0, 0, 0, 0, 0, 1],
            [1, 0, 1, 1, 0, 1],
            [1, 0, 1, 0, 0, 0],
            [1, 1, 0, 0, 1, 1],
        ],
        dtype=bool,
    )
    labels = components(tf.constant(mask)).numpy()
    parts = [np.unique(labels[part]) for part in (np.s_[0, :4], np.s_[:3, 5], np.s_[4, 4:])]
    winding = np.unique(labels[[2, 3, 4, 4, 3, 2, 2], [0, 0, 0, 1, 2, 2, 3]])
    assert [len(part) for part in (*parts, winding)] == [1, 1, 1, 1]
    assert len({0, *np.concatenate([*parts, winding])}) == 5
    assert not labels[~mask].any()
