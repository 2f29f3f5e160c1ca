"""The versions of a model on disk: version folders, labels and ``models.config``."""

from kmnist.versions.config import (
    ModelConfig,
    VersionPolicy,
    check_label,
    config_path,
    edit,
    read_labels,
    read_model_config,
)
from kmnist.versions.folders import (
    check_writable,
    label,
    list_versions,
    prune,
    publish,
    stage,
    version_folder,
)
from kmnist.versions.manifest import verify_version, write_manifest

__all__ = [
    "ModelConfig",
    "VersionPolicy",
    "check_label",
    "check_writable",
    "config_path",
    "edit",
    "label",
    "list_versions",
    "prune",
    "publish",
    "read_labels",
    "read_model_config",
    "stage",
    "verify_version",
    "version_folder",
    "write_manifest",
]
