"""The versions of a model on disk: version folders, labels and ``models.config``."""

from kmnist.versions.folders import (
    check_writable,
    list_versions,
    prune,
    publish,
    stage,
    version_folder,
)
from kmnist.versions.labels import label, read_labels
from kmnist.versions.manifest import verify_version, write_manifest
from kmnist.versions.models_config import (
    ModelConfig,
    VersionPolicy,
    config_path,
    ensure_model_config,
    read_model_config,
)

__all__ = [
    "ModelConfig",
    "VersionPolicy",
    "check_writable",
    "config_path",
    "ensure_model_config",
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
