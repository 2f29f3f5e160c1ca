"""The versions of a model on disk: version folders, labels and ``models.config``."""

from kmnist.versions.folders import (
    label,
    list_versions,
    prune,
    publish,
    stage,
    version_folder,
)

__all__ = ["label", "list_versions", "prune", "publish", "stage", "version_folder"]
