"""The versions of a model on disk: version folders, labels and ``models.config``."""

from kmnist.versions.folders import (
    check_writable,
    list_versions,
    prune,
    publish,
    stage,
    version_folder,
)
from kmnist.versions.labels import check_label, label, read_labels
from kmnist.versions.manifest import verify_version, write_manifest
from kmnist.versions.models_config import (
    ModelConfig,
    VersionPolicy,
    config_path,
    configured_models,
    ensure_model_config,
    read_model_config,
)
from kmnist.versions.summary import Summary, read_summary

__all__ = [
    "ModelConfig",
    "Summary",
    "VersionPolicy",
    "check_label",
    "check_writable",
    "config_path",
    "configured_models",
    "ensure_model_config",
    "label",
    "list_versions",
    "prune",
    "publish",
    "read_labels",
    "read_model_config",
    "read_summary",
    "stage",
    "verify_version",
    "version_folder",
    "write_manifest",
]
