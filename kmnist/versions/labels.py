"""Labels: names such as ``stable`` and ``canary`` that requests use instead of version numbers."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kmnist.errors import InputError, MissingError
from kmnist.versions.folders import version_folder
from kmnist.versions.models_config import config_path, edit_entry, read_model_config

__all__ = ["check_label", "label", "read_labels"]

# These characters need no escaping in /v1/models/MODEL/labels/LABEL.
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def read_labels(base: str | os.PathLike[str]) -> dict[str, int]:
    """Return the labels of a model and their versions.

    Args:
        base: The folder of versions.

    Returns:
        Label → version; empty if ``models.config`` or its entry for the model does not exist.

    Raises:
        InputError: ``models.config`` is not a file that TensorFlow Serving can read.
    """
    try:
        return dict(read_model_config(config_path(base), Path(os.path.abspath(base)).name).labels)
    except MissingError:
        return {}


def check_label(name: str) -> None:
    """Check that a name can be a label.

    Raises:
        InputError: It has characters that would need escaping in a URL.
    """
    if not _LABEL.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a label; expected a letter or digit, then letters, digits, '_', '-' "
            "or '.'"
        )


def label(base: str | os.PathLike[str], changes: Mapping[str, int | None]) -> dict[str, int]:
    """Assign labels to versions, or remove labels: all of the changes or none.

    Labels are stored in ``models.config``, which is created if it does not exist. A server that
    polls the file applies the change within its poll interval.

    Args:
        base: The folder of versions.
        changes: Label → version; None removes the label.

    Returns:
        Every label of the model and its version, sorted by label.

    Raises:
        InputError: A label has characters that would need escaping in a URL, or ``models.config``
            cannot be edited without losing a part of it.
        MissingError: ``base`` has no version, or a version or a label to remove does not exist.
        KmnistError: ``models.config`` cannot be written.

    Example:
        >>> label("models/kmnist", {"stable": 1, "canary": 2})
        {'canary': 2, 'stable': 1}
        >>> label("models/kmnist", {"stable": 2, "canary": None})
        {'stable': 2}
    """
    version_folder(base)  # without a version, fail before models.config is created
    with edit_entry(base) as entry:
        labels = entry.version_labels
        for name, version in changes.items():
            check_label(name)
            if version is not None:
                version_folder(base, version)
                labels[name] = version
            elif name in labels:
                del labels[name]
            else:
                existing = ", ".join(sorted(labels)) or "none"
                raise MissingError(f"no label {name} of {base}; existing labels: {existing}")
        return dict(sorted(labels.items()))
