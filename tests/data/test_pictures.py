"""Folders of pictures: classes, splits, sizes, colours, what is kept, and what is refused."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmnist import Dataset, load_dataset
from kmnist.errors import ColourError, InputError
from tests.pictures.kinds import encode


@pytest.fixture
def single(pictures: Path) -> Path:
    """The training pictures as a single folder of classes."""
    return pictures / "train"


def test_the_images_are_those_of_the_pictures(pictures: Path, tiny_dataset: Dataset) -> None:
    dataset = load_dataset(pictures, validation_size=0)
    assert repr(dataset) == f"Dataset({pictures.name}: 40 / 0 / 20 of 28×28, 10 classes)"
    assert dataset.class_names == tuple("0123456789")
    assert (dataset.notes, dataset.paths) == ((), ())
    for read, split in ((dataset.train, tiny_dataset.train), (dataset.test, tiny_dataset.test)):
        expected = {(i.tobytes(), int(n)) for i, n in zip(split.images, split.labels, strict=True)}
        for image, label in zip(read.images, read.labels, strict=True):
            assert (image.tobytes(), int(label)) in expected
    # The first ones are a sample of all classes.
    assert len(set(dataset.train.labels[:10])) > 4


def test_a_folder_may_have_a_validation_split(pictures: Path) -> None:
    (pictures / "test").rename(pictures / "val")
    dataset = load_dataset(pictures)
    assert (len(dataset.validation), len(dataset.train) + len(dataset.test)) == (20, 40)
    assert dataset.notes == (
        f"pictures chosen for the test by a hash of each file: {len(dataset.test)}",
    )
    shutil.copytree(pictures / "val", pictures / "test")
    assert repr(load_dataset(pictures)).endswith(": 40 / 20 / 20 of 28×28, 10 classes)")
    assert len(load_dataset(pictures, validation_size=0).validation) == 20


def test_a_single_folder_is_split_by_the_content_of_its_files(single: Path) -> None:
    dataset = load_dataset(single, validation_size=0)
    assert 2 <= len(dataset.test) <= 16
    # Other names, and other pictures beside them, change nothing.
    for path in single.glob("*/*.png"):
        path.rename(path.with_name(f"a-{path.name}"))
    added = min(single.glob("*/*.png"))
    added.with_name("b.png").write_bytes(added.read_bytes() + b"\0")
    again = load_dataset(single, validation_size=0)
    assert len(again.train) + len(again.test) == 41
    images = {image.tobytes() for image in again.test.images}
    assert {image.tobytes() for image in dataset.test.images} <= images


def test_what_was_read_is_kept_until_a_file_changes(pictures: Path, tmp_path: Path) -> None:
    first, kept = load_dataset(pictures), tmp_path / "pictures.cache.npz"
    written = kept.stat().st_ino
    assert load_dataset(pictures).checksums() == first.checksums()
    assert kept.stat().st_ino == written
    some, other = sorted(pictures.glob("train/*/*.png"))[:2]
    status = some.stat()

    def overwrite() -> None:
        some.write_bytes(other.read_bytes()[: status.st_size].ljust(status.st_size, b"\0"))
        os.utime(some, ns=(status.st_atime_ns, status.st_mtime_ns))  # size and time as before

    changes = (
        overwrite,
        lambda: other.rename(other.with_name("renamed.png")),
        some.unlink,
        lambda: os.truncate(kept, 1000),
    )
    for change in changes:
        change()
        load_dataset(pictures)
        assert kept.stat().st_ino != written
        written = kept.stat().st_ino


def test_pictures_are_kept_elsewhere_or_not_at_all(pictures: Path, tmp_path: Path) -> None:
    load_dataset(pictures, data_dir=tmp_path / "data")
    (kept,) = (tmp_path / "data").iterdir()
    assert not pictures.with_name("pictures.cache.npz").exists()
    (note,) = load_dataset(pictures, data_dir=kept).notes
    assert note.startswith(f"files and folders that were not used: 1, such as {kept}/pictures.")


def test_pictures_of_any_format_have_one_size_or_a_declared_one(
    single: Path, tiny_dataset: Dataset
) -> None:
    seven = tiny_dataset.test.images[0]
    rgb = np.repeat(seven[..., None], 3, axis=2)
    opaque = np.dstack([rgb, np.full_like(seven, 255)])
    added = single / "7" / "added.png"
    for content in (
        *map(encode, (rgb, opaque, opaque[..., 2:])),
        encode(rgb, "BMP"),
        encode(seven, "GIF"),
        encode(seven, "WEBP", lossless=True),
    ):
        added.write_bytes(content)
        dataset = load_dataset(single, validation_size=0)
        images = np.concatenate([dataset.train.images, dataset.test.images])
        assert (images == seven).all((1, 2)).any()
    added.write_bytes(encode(np.tile(seven, (1, 2))))
    with pytest.raises(
        InputError, match=r"7/added\.png does not have the size of .*/0/.*png: choo"
    ):
        load_dataset(single)
    dataset = load_dataset(single, image_size=(20, 30))
    assert dataset.image_shape == (20, 30)
    assert dataset.notes[0] == "pictures scaled to 20×30: 41"
    assert load_dataset(single, image_size=28).notes[0] == "pictures scaled to 28×28: 1"


def test_a_scaled_picture_keeps_its_aspect_ratio_and_its_background(pictures: Path) -> None:
    wide = np.full((28, 56), 200, np.uint8)
    wide[5:23, 10:46] = 0
    for path in pictures.glob("*/*/*.png"):
        path.write_bytes(encode(wide))
    image = load_dataset(pictures, image_size=28).train.images[0]
    assert image[[0, 6, 21, 27]].min() >= 195
    assert image[10:18, 6:22].max() == 0


def test_photographs_of_phones_are_read(single: Path) -> None:
    photo, exif = np.zeros((2448, 3264, 3), np.uint8), Image.Exif()
    photo[:, :1632, 0] = 200  # red on the left, once it is turned on top
    exif[0x0112] = 6  # turn it clockwise
    path = single / "7" / "photo.jpg"
    path.write_bytes(encode(photo, "JPEG", exif=exif))
    with pytest.raises(ColourError, match=r"7/photo\.jpg has colours: convert to greyscale"):
        load_dataset(single, image_size=(32, 24))
    dataset = load_dataset(single, image_size=(32, 24), grey=True, validation_size=0)
    images = np.concatenate([dataset.train.images, dataset.test.images]).astype(int)
    expected = np.repeat([[60], [0]], 16, axis=0)
    assert (np.abs(images - expected).mean((1, 2)) < 4).any()
    # What was kept with colours converted is not used without.
    with pytest.raises(ColourError):
        load_dataset(single, image_size=(32, 24))


def test_numbers_as_class_names_are_in_their_order(pictures: Path) -> None:
    for split in ("train", "test"):
        (pictures / split / "1").rename(pictures / split / "10")
        (pictures / split / "2").rename(pictures / split / "b")
    assert load_dataset(pictures).class_names == (*"03456789", "10", "b")


def test_other_files_are_counted_and_links_followed(pictures: Path) -> None:
    (pictures / "more").mkdir()
    (pictures / "train" / "labels.csv").touch()
    (pictures / "train" / "7" / "notes.txt").touch()
    (pictures / "train" / "7" / ".DS_Store").touch()
    (pictures / ".git").mkdir()
    link = Path(os.fsdecode(os.fsencode(pictures) + b"/train/7/\xff.png"))  # not UTF-8
    link.symlink_to(next(pictures.glob("test/7/*.png")))
    dataset = load_dataset(pictures, validation_size=0)
    assert dataset.notes == (f"files and folders that were not used: 3, such as {pictures}/more",)
    assert len(dataset.train) == 41


def make(folder: Path, *paths: str) -> Path:
    """Write small pictures, and folders where a path ends in a slash."""
    picture = encode(np.zeros((8, 8), np.uint8))
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(picture + bytes([number % 256]))
    return folder


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (("a/1.png", "b/1.tif"), r"/b has no pictures \(\.bmp, .*\): each class needs a folder of"),
        (("train/a/1.png", "train/b/1.png", "test/a/"), "test/a has no pictures"),
        (("train/a/1.png", "test/a/1.png"), "has 1 class names: there must be 2 to 1000"),
        (("train/", "test/"), "has no folder with the pictures of a class"),
        (
            ("train/a/1.png", "train/b/1.png", "test/c/1.png"),
            "has too few pictures of c to train and to test on: add some, or split",
        ),
        (("train/a/1.png", "b/1.png"), "train has no pictures"),
        (("a/1.png", "b/1.png"), "has too few pictures to train and to test on"),
        (("train/a\udcff/1.png", "train/b/1.png", "test/b/1.png"), r"the class name 'a\\udcff'"),
    ],
)
def test_folders_of_another_structure_are_refused(
    tmp_path: Path, paths: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_dataset(make(tmp_path / "x", *paths))
    assert "\n" not in str(error.value)


def test_a_class_of_few_pictures_keeps_one_for_the_test_or_is_named(tmp_path: Path) -> None:
    dataset = load_dataset(make(tmp_path / "x", "a/1.png", "a/2.png", "b/1.png"))
    assert (sorted(dataset.train.labels.tolist()), dataset.test.labels.tolist()) == ([0, 1], [0])
    assert dataset.notes[-1] == "classes with too few pictures to test: b"


SHEET = np.zeros((99, 99), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        b"not a picture",
        b"",
        encode(SHEET)[:-60],
        encode(SHEET, "JPEG")[:-60],
        encode(SHEET, "TIFF"),
    ],
    ids=["text", "empty", "PNG", "JPEG", "TIFF"],
)
def test_a_file_that_is_no_picture_is_named(single: Path, content: bytes) -> None:
    (single / "7" / "damaged.png").write_bytes(content)
    with pytest.raises(
        InputError, match=r"7/damaged\.png cannot be read as PNG, JPEG, GIF, BMP or"
    ):
        load_dataset(single)


def test_pictures_without_a_grey_image_of_a_usual_size_are_refused(
    single: Path,
) -> None:
    first = min(single.glob("0/*.png"))
    first.write_bytes(encode(np.dstack([SHEET, SHEET])))
    with pytest.raises(InputError, match=r"0/.*\.png has transparent pixels: lay it on a backgr"):
        load_dataset(single, grey=True)
    first.write_bytes(encode(np.zeros((1, 1025), np.uint8)))
    with pytest.raises(InputError, match=r"0/.*\.png is larger than 1,024 pixels: choose an image"):
        load_dataset(single)
