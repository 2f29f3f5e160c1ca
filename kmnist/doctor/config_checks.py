"""Whether ``models.config`` fits a folder of versions."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from kmnist.doctor.report import Finding
from kmnist.errors import InputError, MissingError
from kmnist.versions import (
    ModelConfig,
    VersionPolicy,
    config_path,
    list_versions,
    read_model_config,
)

__all__ = ["check_config", "check_labels", "check_restart"]

_CREATE: Final = "create it with kmnist versions label"


def check_config(base: Path) -> Iterator[Finding]:
    """Check whether the ``models.config`` beside ``base`` is valid and has the right path."""
    path, name = config_path(base), base.absolute().name
    try:
        model = read_model_config(path, name)
    except MissingError:
        if path.exists():
            yield Finding(
                f"{path} has no model {name}",
                "a server that is started with it answers 404 to every request for the model",
                "add it with kmnist versions label",
            )
        else:
            yield Finding(
                f"there is no {path}",
                "docker compose starts TensorFlow Serving with this file; without it, the server exits",
                _CREATE,
                is_problem=False,
            )
    except InputError as error:
        yield Finding(
            str(error),
            "TensorFlow Serving does not start with it, or keeps the previous configuration",
            f"correct it, or delete it and {_CREATE}",
        )
    else:
        yield from _check_path(path, name, model)


def check_labels(base: Path) -> Iterator[Finding]:
    """Check whether labels and version policy refer to versions that exist and are loaded.

    An invalid ``models.config`` is a finding of :func:`check_config` and ignored here.
    """
    path = config_path(base)
    try:
        model = read_model_config(path, base.absolute().name)
    except (MissingError, InputError):
        return
    existing = list_versions(base)
    loaded = model.policy.choose(existing)
    load_all = f"write model_version_policy {{ all {{}} }} in {path}"
    for label, version in sorted(model.labels.items()):
        if version not in existing:
            yield Finding(
                f"the label {label} points to version {version}, which does not exist",
                "requests for the label are refused, and TensorFlow Serving applies no further "
                "changes of labels",
                f"move it to an existing version: kmnist versions label {label}={existing[-1]}",
            )
        elif version not in loaded:
            yield Finding(
                f"the label {label} points to version {version}, which is not loaded: the version "
                f"policy selects {', '.join(map(str, loaded)) or 'no existing version'}",
                "requests for the label are refused",
                load_all,
            )
    missing = sorted(set(model.policy.specific or ()) - set(existing))
    if missing:
        yield Finding(
            "the version policy selects versions that do not exist: "
            + ", ".join(map(str, missing)),
            "TensorFlow Serving waits for them; when it starts, it opens no port meanwhile",
            load_all,
        )


def check_restart(
    base: Path, broken: Iterable[int], altered: Collection[int] = ()
) -> Iterator[Finding]:
    """Check whether a restart of TensorFlow Serving would load one of the ``broken`` versions.

    Those that are ``altered`` were not loaded here; it is unknown whether a server can load them.
    """
    path = config_path(base)
    try:
        policy = read_model_config(path, base.absolute().name).policy
    except (MissingError, InputError):
        policy = VersionPolicy()
    loaded = policy.choose(list_versions(base))
    versions = sorted(set(broken) & set(loaded))
    if versions:
        numbers = ", ".join(map(str, versions))
        would = "may" if set(versions) <= set(altered) else "would"
        yield Finding(
            f"a restart of TensorFlow Serving {would} fail: it would load the broken version {numbers}",
            "a start ends as soon as one version fails to load, even if the others are sound; a "
            "server that is running keeps serving them",
            "repair or delete it before the next restart; with "
            "--max_num_load_retries=1 --load_retry_interval_micros=5000000 a server starts if "
            "another version is sound",
            is_problem=False,
        )


def _check_path(path: Path, name: str, model: ModelConfig) -> Iterator[Finding]:
    do = f'write the folder as the server sees it: base_path: "/models/{name}"'
    if not model.base_path.startswith(("/", "gs://", "s3://")):
        yield Finding(
            f"{path} has the relative base_path {model.base_path!r}",
            "TensorFlow Serving does not start with it; it requires an absolute path",
            do,
        )
    elif Path(model.base_path).name != name:
        yield Finding(
            f"{path} has the base_path {model.base_path} for the model {name}",
            "the server serves another folder, or waits for it indefinitely",
            do,
            is_problem=False,
        )
