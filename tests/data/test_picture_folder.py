"""Folders of pictures: classes, splits, the IDX files that are kept, and what is refused."""

import os
import shutil
from pathlib import Path

import pytest

from kmnist import Dataset
from kmnist.data import picture_folder
from kmnist.data.picture_folder import is_picture_folder, read_picture_folder
from kmnist.errors import InputError


@pytest.fixture
def single(pictures: Path, tmp_path: Path) -> Path:
    """The training pictures as a single folder of classes."""
    folder = tmp_path / "digits"
    shutil.copytree(pictures / "train", folder)
    return folder


def kept(folder: Path) -> list[str]:
    """Return the names of the states that are kept of a folder."""
    home = folder.with_name(f"{folder.name}.idx")
    return [path.name for path in home.iterdir() if path.is_dir()]


def assert_equal(one: Dataset, other: Dataset) -> None:
    assert one.checksums() == other.checksums()
    assert (one.name, one.class_names, one.notes) == (other.name, other.class_names, other.notes)


def test_the_images_are_those_of_the_pictures(pictures: Path, tiny_dataset: Dataset) -> None:
    dataset = read_picture_folder(pictures)
    assert repr(dataset) == f"Dataset({pictures}: 40 / 0 / 20 of 28×28, 10 classes)"
    assert dataset.class_names == tuple("0123456789")
    assert dataset.notes == ()
    assert dataset.paths == ()
    for read, split in ((dataset.train, tiny_dataset.train), (dataset.test, tiny_dataset.test)):
        expected = {(i.tobytes(), int(n)) for i, n in zip(split.images, split.labels, strict=True)}
        for image, label in zip(read.images, read.labels, strict=True):
            assert (image.tobytes(), int(label)) in expected


def test_the_first_training_images_are_a_sample_of_all_classes(pictures: Path) -> None:
    assert len(set(read_picture_folder(pictures).train.labels[:10])) > 4


def test_a_kept_data_set_equals_the_one_that_was_read(
    single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_picture_folder(single)
    assert first.notes
    monkeypatch.setattr(picture_folder, "read_picture_files", None)
    assert_equal(read_picture_folder(single), first)


def test_a_data_set_may_be_kept_elsewhere(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_picture_folder(pictures, cache=tmp_path / "data")
    assert not pictures.with_name("pictures.idx").exists()
    monkeypatch.setattr(picture_folder, "read_picture_files", None)
    assert_equal(read_picture_folder(pictures, cache=tmp_path / "data"), first)


def test_any_change_of_a_file_is_noticed(pictures: Path) -> None:
    read_picture_folder(pictures)
    some, other = sorted(pictures.glob("train/*/*.png"))[:2]
    status = some.stat()

    def overwrite() -> None:
        content = other.read_bytes()[: status.st_size].ljust(status.st_size, b"\0")
        some.write_bytes(content)
        os.utime(some, ns=(status.st_atime_ns, status.st_mtime_ns))  # size and time as before

    changes = (
        overwrite,
        lambda: other.rename(other.with_name("renamed.png")),
        lambda: shutil.copy(some, some.with_name("new.png")),
        some.unlink,
    )
    for change in changes:
        (before,) = kept(pictures)
        change()
        read_picture_folder(pictures)
        (after,) = kept(pictures)  # and the earlier state is removed
        assert after != before


@pytest.mark.parametrize("damage", ["truncated", "missing", "notes"])
def test_damaged_files_are_written_again(pictures: Path, damage: str) -> None:
    first = read_picture_folder(pictures)
    (state,) = kept(pictures)
    folder = pictures.with_name("pictures.idx") / state
    if damage == "truncated":
        os.truncate(folder / "train-images-idx3-ubyte", 1000)
    elif damage == "missing":
        (folder / "t10k-labels-idx1-ubyte").unlink()
    else:
        (folder / "notes.json").write_text("{")
    assert_equal(read_picture_folder(pictures), first)
    assert picture_folder._load(folder) is not None


def test_an_interrupted_write_leaves_nothing(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(picture_folder, "write_idx", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read_picture_folder(pictures)
    assert kept(pictures) == []
    # What a process that was killed left behind is removed.
    (pictures.with_name("pictures.idx") / "partial-x").mkdir()
    read_picture_folder(pictures)
    assert len(kept(pictures)) == 1


def test_without_a_place_to_keep_it_the_data_set_is_read(pictures: Path) -> None:
    pictures.with_name("pictures.idx").touch()
    (note,) = read_picture_folder(pictures).notes
    assert note == f"not kept for the next time in {pictures}.idx (File exists)"


def test_a_single_folder_is_split_by_the_content_of_its_files(single: Path) -> None:
    dataset = read_picture_folder(single)
    count = len(dataset.test)
    assert 2 <= count <= 16
    assert dataset.notes == (
        f"split by a hash of each file: {count} of 40 pictures are for the test",
    )
    # Other names, and other pictures beside them, change nothing.
    for path in single.glob("*/*.png"):
        path.rename(path.with_name(f"a-{path.name}"))
    added = min(single.glob("*/*.png"))
    added.with_name("b.png").write_bytes(added.read_bytes() + b"\0")
    again = read_picture_folder(single)
    assert len(again.train) + len(again.test) == 41
    images = {image.tobytes() for image in again.test.images}
    assert {image.tobytes() for image in dataset.test.images} <= images


def test_numbers_as_class_names_are_in_their_order(pictures: Path) -> None:
    for split in ("train", "test"):
        (pictures / split / "1").rename(pictures / split / "10")
        (pictures / split / "2").rename(pictures / split / "b")
    assert read_picture_folder(pictures).class_names == (*"03456789", "10", "b")


def test_other_files_are_counted(pictures: Path) -> None:
    (pictures / "val").mkdir()
    (pictures / "train" / "labels.csv").touch()
    (pictures / "train" / "7" / "notes.txt").touch()
    (pictures / "train" / "7" / ".DS_Store").touch()
    (pictures / ".git").mkdir()
    (note,) = read_picture_folder(pictures).notes
    assert note == f"not read: 3 other files and folders, such as {pictures}/val"


def test_more_classes_than_a_byte_counts_are_read(single: Path) -> None:
    picture = next(single.glob("*/*.png")).read_bytes()
    for number in range(300):
        (single / f"{number}").mkdir(exist_ok=True)
        for copy in range(8):
            (single / f"{number}" / f"{copy}.png").write_bytes(
                picture + bytes([number % 256, copy])
            )
    dataset = read_picture_folder(single)
    assert len(dataset.class_names) == 300
    assert dataset.train.labels.max() == 299


def test_folders_of_pictures_are_recognized(pictures: Path, single: Path, tiny: Path) -> None:
    assert is_picture_folder(pictures)
    assert is_picture_folder(single)
    assert not is_picture_folder(tiny)
    assert not is_picture_folder(Path(picture_folder.__file__).parents[1])  # a checkout has kmnist


def make(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            (folder / path).touch()
        else:
            (folder / path).mkdir()
    return folder


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (("a/1.png", "b/"), r"/b has no picture; expected a class with .* \*\.bmp, .* remove the"),
        (("a/1.png", "b/1.tif"), "/b has no picture"),
        (("train/a/1.png", "train/b/1.png", "test/a/"), "test/a has no picture"),
        (("a/1.png",), "has 1 class folder, a; expected train/CLASS"),
        (("train/a/1.png", "test/a/1.png"), "has 1 class folder, a; expected"),
        (("train/", "test/"), "has 0 class folders; expected"),
        (("train/a/1.png", "train/b/1.png", "test/"), "test has no class folder; expected train/"),
        (
            ("train/a/1.png", "train/b/1.png", "test/c/1.png"),
            "test/c is a class that .*train does not have; .* add them or remove the folder",
        ),
        (("train/a/1.png", "b/1.png"), "train/a is a folder in the folder of a class; expected"),
        (("a/1.png", "b/2.png/"), "b/2.png is a folder in the folder of a class"),
        (tuple(f"{n}/1.png" for n in range(1001)), "has 1001 class folders; .*, at most 1000"),
        (("a/1.png", "b\udcff/1.png"), r"class folder 'b\\udcff'; expected a name in UTF-8"),
    ],
)
def test_folders_of_another_structure_are_refused(
    tmp_path: Path, paths: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_picture_folder(make(tmp_path / "x", *paths))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x.idx").exists()


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        ("a/2.png", "2.png", r"a/2\.png cannot be read \(Too many levels of symbolic links\)"),
        ("c", "c", r"/c cannot be read \(Too many levels"),
        ("c", ".", r"/c/[ab] is a folder in the folder of a class"),
        ("a/2.png", "nowhere", r"a/2\.png cannot be read \(No such file or directory\); make it"),
        ("a/2.png", "/dev/null", r"a/2\.png is not a regular file; remove it"),
    ],
)
def test_links_that_lead_to_no_picture_are_refused(
    tmp_path: Path, link: str, target: str, message: str
) -> None:
    folder = make(tmp_path / "x", "a/1.png", "b/1.png")
    (folder / link).symlink_to(target)
    with pytest.raises(InputError, match=message):
        read_picture_folder(folder)


def test_links_to_pictures_are_followed(pictures: Path, tmp_path: Path) -> None:
    link = pictures / "train" / "7" / "link.png"
    link.symlink_to(next(pictures.glob("test/7/*.png")))
    (tmp_path / "link").symlink_to(pictures)
    assert len(read_picture_folder(tmp_path / "link").train) == 41
    assert len(kept(pictures)) == 1


def test_a_split_that_leaves_a_class_or_the_test_without_pictures_is_refused(
    single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_folder, "_TEST_SHARE", 1.0)
    with pytest.raises(InputError, match="/0 has too few pictures: the split by their hashes leav"):
        read_picture_folder(single)
    monkeypatch.setattr(picture_folder, "_TEST_SHARE", 0.0)
    with pytest.raises(InputError, match=r"has only 40 pictures: .* none to test on; add some, or"):
        read_picture_folder(single)
