"""Examination of a folder of versions."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from kmnist.doctor.config_checks import check_config, check_labels
from kmnist.doctor.load_checks import load_versions
from kmnist.doctor.port_checks import check_ports
from kmnist.doctor.report import Check, Finding, Report
from kmnist.doctor.signature_checks import compare_signatures
from kmnist.errors import KmnistError
from kmnist.versions import config_path, list_versions, verify_version, version_folder

__all__ = ["examine_folder"]

_WAITS: Final = "a server looks for versions inside this folder, finds none, and waits indefinitely"
_TRAIN: Final = "train one with kmnist-train"


def examine_folder(
    base: str | os.PathLike[str],
    *,
    grpc_port: int = 8500,
    rest_port: int = 8501,
) -> Report:
    """Examine a folder of versions, its ``models.config``, and the ports of its server.

    Every version is compared with its manifest, if it has one, and loaded, warm-up included, which
    takes seconds for each.

    Args:
        base: The folder of versions.
        grpc_port: The port of this machine for gRPC; 0 to skip it.
        rest_port: The port of this machine for REST; 0 to skip it.

    Returns:
        The checks and their findings.

    Raises:
        KmnistError: There are versions to load, but TensorFlow is not installed.
    """
    base = Path(base)
    layout = Check.of("folder of versions", _check_layout(base))
    ports = Check.of("ports", check_ports(grpc_port, rest_port, base.absolute().name))
    if not base.is_dir() or not list_versions(base):
        return Report(str(base), (layout, ports))
    folders = {version: version_folder(base, version) for version in list_versions(base)}
    altered = dict(_find_altered(folders))
    intact = {version: folders[version] for version in folders if version not in altered}
    signatures, failures = load_versions(intact)
    return Report(
        str(base),
        (
            layout,
            Check.of("loading of every version", (*altered.values(), *failures)),
            Check.of("signatures of all versions", compare_signatures(signatures)),
            Check.of("file permissions", _check_permissions(base, folders)),
            Check.of("models.config", check_config(base)),
            Check.of("labels", check_labels(base)),
            ports,
        ),
    )


def _check_layout(base: Path) -> Iterator[Finding]:
    """Check whether ``base`` is a folder of versions, not one level too high or too low."""
    if not base.exists():
        yield Finding(
            f"there is no folder {base}",
            "a server waits for it indefinitely without opening a port",
            "train a version with kmnist-train, or correct the path",
        )
    elif not base.is_dir():
        yield Finding(
            f"{base} is a file",
            "a server expects a folder with one folder per version",
            "use the folder of versions, such as models/kmnist",
        )
    elif (base / "saved_model.pb").exists() or (base / "saved_model.pbtxt").exists():
        parent = base.absolute().parent
        if base.name.isdecimal():
            yield Finding(
                f"{base} is a version, not a folder of versions",
                _WAITS,
                f"use its parent, {parent}, here and for the server",
            )
        else:
            yield Finding(
                f"{base} is a SavedModel, not a folder of versions",
                _WAITS,
                f"move its content to {base / '1'}",
            )
    elif list_versions(base):
        yield from _check_names(base)
    elif models := _folders_of_versions(base):
        yield Finding(
            f"{base} contains models instead of versions: {', '.join(models)}",
            _WAITS,
            f"use the folder of one model: {base / models[0]}",
        )
    else:
        yield Finding(
            f"there is no version in {base}",
            "a server waits indefinitely for the first one without opening a port",
            _TRAIN,
        )
        yield from _check_names(base)


def _folders_of_versions(folder: Path) -> list[str]:
    return sorted(
        child.name for child in folder.iterdir() if child.is_dir() and list_versions(child)
    )


def _check_names(base: Path) -> Iterator[Finding]:
    """Find SavedModels in folders whose names are not version numbers."""
    versions = list_versions(base)
    following = max(versions, default=0) + 1
    for child in sorted(base.iterdir()):
        if child.name.startswith(".") or not (child / "saved_model.pb").exists():
            continue
        if not (child.name.isascii() and child.name.isdecimal()):
            yield Finding(
                f"{child} contains a SavedModel, but its name is not a number",
                "a server ignores it without a message",
                f"mv {child} {base / str(following)}, or delete it",
            )
        elif int(child.name) not in versions:
            yield Finding(
                f"{child} contains a SavedModel, but its number is too high",
                f"a server ignores it without a message; the highest version is {2**63 - 1}",
                f"mv {child} {base / str(following)}, or delete it",
            )
        elif version_folder(base, int(child.name)) != child:
            yield Finding(
                f"{child} and {version_folder(base, int(child.name))} are both version "
                f"{int(child.name)}",
                "TensorFlow Serving loads either one, and kmnist serve the shorter name",
                f"mv {child} {base / str(following)}, or delete it",
            )
        elif str(int(child.name)) != child.name:
            yield Finding(
                f"{child} has a name with leading zeros",
                f"requests and labels refer to it as version {int(child.name)}",
                f"mv {child} {base / str(int(child.name))}",
                is_problem=False,
            )


def _find_altered(folders: Mapping[int, Path]) -> Iterator[tuple[int, Finding]]:
    """Find the versions that differ from their manifest; their graph should not be run."""
    for version, folder in folders.items():
        try:
            verify_version(folder)
        except KmnistError as error:
            yield (
                version,
                Finding(
                    str(error),
                    "the version is not as it was exported; kmnist serve refuses it, and TensorFlow "
                    "Serving loads it if it can",
                    f"copy it again from where it was exported, or delete it: rm -r {folder}",
                ),
            )


def _check_permissions(base: Path, folders: Mapping[int, Path]) -> Iterator[Finding]:
    # A container gets the parent folder, which contains models.config. Folders above it do not matter.
    parent = base.absolute().parent
    paths = [parent, config_path(base), base]
    for folder in folders.values():
        paths += [folder, *folder.rglob("*")]
    closed = [path for path in paths if path.exists() and not _is_readable_by_others(path)]
    if closed:
        subject = f"{closed[0]} is"
        if len(closed) > 1:
            subject = f"{closed[0]} and {len(closed) - 1:,} more are"
        yield Finding(
            f"{subject} not readable by other users",
            "a server in a container usually runs as another user and then cannot load the model",
            f"chmod -R a+rX {parent if closed[0] in paths[:2] else base}, or run the container as yourself: UID and GID in .env",
            is_problem=False,
        )


def _is_readable_by_others(path: Path) -> bool:
    needed = 0o005 if path.is_dir() else 0o004
    return path.stat().st_mode & needed == needed
