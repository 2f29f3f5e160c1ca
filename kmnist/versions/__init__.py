"""The versions of a model on disk: version folders, labels and ``models.config``."""

from kmnist.versions.folders import list_versions, prune, publish, stage, version_folder
from kmnist.versions.labels import label, read_labels
from kmnist.versions.models_config import (
    ModelConfig,
    VersionPolicy,
    config_path,
    configured_models,
    ensure_model_config,
    read_model_config,
)

__all__ = [
    "ModelConfig",
    "VersionPolicy",
    "config_path",
    "configured_models",
    "ensure_model_config",
    "label",
    "list_versions",
    "prune",
    "publish",
    "read_labels",
    "read_model_config",
    "stage",
    "version_folder",
]
