"""Read a data set from a folder of the four IDX files of MNIST."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from kmnist.data.dataset import Dataset, Split
from kmnist.data.idx import read_idx
from kmnist.errors import InputError, MissingError

__all__ = ["FILES", "is_idx_folder", "read_idx_folder"]

_TRAIN_IMAGES: Final = "train-images-idx3-ubyte"
FILES: Final = (
    _TRAIN_IMAGES,
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_CLASSES: Final = "classes.txt"


def is_idx_folder(folder: Path) -> bool:
    """Return whether ``folder`` holds the IDX file of the training images."""
    return _find(folder, _TRAIN_IMAGES) is not None


def read_idx_folder(folder: Path) -> Dataset:
    """Read a folder of IDX files.

    Args:
        folder: The folder, with the files listed at :func:`kmnist.load_dataset`.

    Returns:
        The data set, with an empty validation split. Without ``classes.txt``, the classes are
        "0", "1" and so on up to the highest training label.

    Raises:
        InputError: A file is damaged or does not match the others, or :class:`Dataset` rejects
            what they contain.
        MissingError: One of the four files does not exist.
    """
    paths = tuple(_require(folder, name) for name in FILES)
    with ThreadPoolExecutor() as pool:  # decompression releases the GIL
        train_images, train_labels, test_images, test_labels = pool.map(
            lambda path, ndim: read_idx(path, ndim=ndim), paths, (3, 1, 3, 1)
        )
    for images, labels, at in ((train_images, train_labels, 0), (test_images, test_labels, 2)):
        if len(images) != len(labels):
            raise InputError(
                f"{paths[at]} holds {len(images)} images, but {paths[at + 1]} {len(labels)} "
                "labels; expected one label per image"
            )
    named = folder / _CLASSES
    if named.exists():
        class_names = _read_class_names(named)
        paths = (*paths, named)
    else:
        class_names = tuple(str(label) for label in range(int(train_labels.max()) + 1))
    train = Split(train_images, train_labels)
    test = Split(test_images, test_labels)
    return Dataset(str(folder), train, train[:0], test, class_names, paths)


def _find(folder: Path, name: str) -> Path | None:
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if path.is_file()), None)


def _require(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    if path:
        return path
    raise MissingError(
        f"{folder} has neither {name} nor {name}.gz; expected the four IDX files "
        f"{', '.join(FILES)}, each raw or .gz, or a folder of pictures for each class"
    )


def _read_class_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # Windows editors begin it with a BOM
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 ({error}); expected one class name per line"
        ) from None
    return tuple(line.strip() for line in lines if line.strip())
