"""The versions of a model on disk: version folders, labels and ``models.config``."""

from kmnist.versions.folders import (
    label,
    list_versions,
    prune,
    publish,
    stage,
    version_folder,
)
from kmnist.versions.models_config import read_labels

__all__ = ["label", "list_versions", "prune", "publish", "read_labels", "stage", "version_folder"]
