"""The diagnosis of a folder of versions, and of the models.config beside it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from kmnist.doctor.port_checks import check_ports
from kmnist.doctor.report import Check, Finding, Report
from kmnist.doctor.saved_model import DamagedError, SavedModel, read_saved_model, read_warmup
from kmnist.doctor.signature_checks import compare_signatures
from kmnist.errors import InputError, MissingError
from kmnist.versions import (
    ModelConfig,
    config_path,
    list_versions,
    read_model_config,
    version_folder,
)

__all__ = ["examine_folder"]


def examine_folder(
    base: str | os.PathLike[str],
    *,
    load: bool = False,
    grpc_port: int = 8500,
    rest_port: int = 8501,
) -> Report:
    """Examines the versions under ``base``, their ``models.config``, and the ports to serve them at.

    Args:
        base: The folder that holds the version folders.
        load: Also load every version, and answer its warm-up file, with TensorFlow.
        grpc_port: The port of this machine that gRPC will be served at; 0: none.
        rest_port: Likewise for REST.
    """
    base = Path(base)
    ports = Check.of(
        "the ports are free, or a model server's", check_ports(grpc_port, rest_port, base.name)
    )
    layout = Check.of("the folder holds version folders", _layout(base))
    if not layout.findings:
        layout = Check.of(layout.title, _names(base))
    if not base.is_dir() or not list_versions(base):
        return Report(str(base), (layout, ports))
    folders = {version: version_folder(base, version) for version in list_versions(base)}
    models: dict[int, SavedModel] = {}
    whole = Check.of("every version is whole", _whole(folders, models))
    signatures = {version: model.signatures for version, model in models.items()}
    checks = [
        layout,
        whole,
        Check.of("all versions have the same signatures", compare_signatures(signatures)),
        Check.of("a server of another user may read them", _permissions(base, folders)),
        Check.of("models.config has the model", _config(base)),
        Check.of("labels point at versions that are loaded", _labels(base)),
        ports,
    ]
    if load:
        sound = {version: folders[version] for version in models}
        checks.insert(2, Check.of("TensorFlow loads every version", _loads(sound)))
    return Report(str(base), tuple(checks))


def _layout(base: Path) -> Iterator[Finding]:
    """Whether ``base`` is one level too high or too low."""
    if not base.exists():
        yield Finding(
            f"there is no folder {base}",
            "a server waits for it for ever, and opens no port meanwhile",
            f"train a version, kmnist-train --output {base}, or correct the path",
        )
    elif not base.is_dir():
        yield Finding(
            f"{base} is a file",
            "a server expects a folder with one folder a version in it",
            "give the folder, such as models/kmnist",
        )
    elif (base / "saved_model.pb").exists() or (base / "saved_model.pbtxt").exists():
        is_version = base.name.isdecimal()
        yield Finding(
            f"{base} is {'a version' if is_version else 'a SavedModel'} itself",
            "a server looks for versions inside the folder, finds none, and waits for ever",
            f"give its parent, {base.absolute().parent}, to the server and to this command"
            if is_version
            else f"move what is in it into {base / '1'}",
        )
    elif not list_versions(base):
        models = sorted(
            child.name for child in base.iterdir() if child.is_dir() and list_versions(child)
        )
        if models:
            yield Finding(
                f"{base} holds models, not versions: {', '.join(models)}",
                "a server looks for versions inside the folder, finds none, and waits for ever",
                f"give the folder of one model: {base / models[0]}",
            )
        else:
            yield Finding(
                f"there is no version in {base}",
                "a server waits for the first one for ever, and opens no port meanwhile",
                f"train one: kmnist-train --output {base}",
            )
            yield from _names(base)


def _names(base: Path) -> Iterator[Finding]:
    """SavedModels that no server will look at."""
    versions = list_versions(base)
    following = max(versions, default=0) + 1
    for child in sorted(base.iterdir()):
        if child.name.startswith(".") or not (child / "saved_model.pb").exists():
            continue
        if not (child.name.isascii() and child.name.isdecimal()):
            yield Finding(
                f"{child} holds a SavedModel and its name is not a number",
                "a server takes only folders named by a number for versions, and is silent on others",
                f"mv {child} {base / str(following)}, or delete it",
            )
        elif str(int(child.name)) != child.name:
            yield Finding(
                f"{child} has a number with leading zeros",
                f"requests and labels have to ask for version {int(child.name)}",
                f"mv {child} {base / str(int(child.name))}",
                is_problem=False,
            )


def _whole(folders: Mapping[int, Path], models: dict[int, SavedModel]) -> Iterator[Finding]:
    """Versions that cannot be loaded; those that seem to be whole are put into ``models``."""
    for version, folder in folders.items():
        try:
            model = read_saved_model(folder)
            read_warmup(folder)
        except DamagedError as error:
            yield Finding(
                f"{folder} {error}",
                "a server fails to load it, or waits for the rest; it was copied in part, or is "
                "being copied",
                "copy it whole under another name that is no number, then rename it: mv is atomic, "
                f"cp is not; or delete it: rm -r {folder}",
            )
        except OSError as error:
            yield Finding(
                f"{folder} cannot be read: {error.strerror} ({error.filename})",
                "a server of the same user cannot read it either",
                f"chmod -R a+rX {folder}",
            )
        else:
            models[version] = model


def _permissions(base: Path, folders: Mapping[int, Path]) -> Iterator[Finding]:
    paths = [base]
    for folder in folders.values():
        paths += [folder, *folder.rglob("*")]
    closed = [path for path in paths if _is_closed(path)]
    if closed:
        others = f", as are {len(closed) - 1:,} more" if len(closed) > 1 else ""
        yield Finding(
            f"{closed[0]} is closed to other users{others}",
            "a server in a container usually runs as another user, and then finds no model",
            f"chmod -R a+rX {base}, or run the container as yourself: UID and GID in .env",
            is_problem=False,
        )


def _is_closed(path: Path) -> bool:
    needed = 0o005 if path.is_dir() else 0o004
    return path.stat().st_mode & needed != needed


def _config(base: Path) -> Iterator[Finding]:
    path, name = config_path(base), base.absolute().name
    make = f"make it: kmnist versions label --base {base}"
    try:
        model = read_model_config(path, name)
    except MissingError:
        if path.exists():
            yield Finding(
                f"{path} has no model {name}",
                "a server started with it answers 404 to every request for the model",
                f"add it: kmnist versions label --base {base}",
            )
        else:
            yield Finding(
                f"there is no {path}",
                "docker compose starts TensorFlow Serving with it, which ends at once without",
                make,
                is_problem=False,
            )
    except InputError as error:
        yield Finding(
            str(error),
            "TensorFlow Serving does not start with it, or keeps what it read before",
            f"correct it, or delete it and {make}",
        )
    else:
        yield from _paths(path, name, model)


def _paths(path: Path, name: str, model: ModelConfig) -> Iterator[Finding]:
    if not model.base_path.startswith(("/", "gs://", "s3://")):
        yield Finding(
            f"{path} has the base_path {model.base_path!r}, which is not absolute",
            "TensorFlow Serving refuses to start with it",
            f'write the folder as the server sees it: base_path: "/models/{name}"',
        )
    elif Path(model.base_path).name != name:
        yield Finding(
            f"{path} gives the model {name} the folder {model.base_path}",
            "the server serves another folder than this one, or waits for it for ever",
            f'write the folder as the server sees it: base_path: "/models/{name}"',
            is_problem=False,
        )


def _labels(base: Path) -> Iterator[Finding]:
    try:
        model = read_model_config(config_path(base), base.absolute().name)
    except (MissingError, InputError):
        return  # told by the check before
    there = list_versions(base)
    loaded = model.policy.choose(there)
    for label, version in sorted(model.labels.items()):
        if version not in there:
            yield Finding(
                f"the label {label} points at version {version}, which is not there",
                "requests for the label are refused, and TensorFlow Serving takes no further change "
                "of labels over",
                f"move it to one that is: kmnist versions label {label}={there[-1]} --base {base}",
            )
        elif version not in loaded:
            yield Finding(
                f"the label {label} points at version {version}, which is not loaded: the policy "
                f"asks for {', '.join(map(str, loaded)) or 'none that is there'}",
                "requests for the label are refused",
                f"write model_version_policy {{ all {{}} }} in {config_path(base)}",
            )
    missing = sorted(set(model.policy.specific or ()) - set(there))
    if missing:
        yield Finding(
            f"the policy asks for versions that are not there: {', '.join(map(str, missing))}",
            "TensorFlow Serving waits for them, at its start without opening a port",
            f"write model_version_policy {{ all {{}} }} in {config_path(base)}",
        )


def _loads(folders: Mapping[int, Path]) -> Iterator[Finding]:
    from kmnist.server.servable import Servable
    from kmnist.server.serving_error import ServingError

    for folder in folders.values():
        try:
            Servable(folder).close()
        except (ServingError, OSError) as error:
            yield Finding(
                f"{folder} cannot be loaded: {error}",
                "a server cannot load it either, and goes on with the version before",
                f"publish it anew, or delete it: rm -r {folder}",
            )
