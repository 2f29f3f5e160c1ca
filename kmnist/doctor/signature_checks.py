"""Whether the versions of a model can stand in for each other."""

from collections.abc import Iterator, Mapping

from kmnist.doctor.report import Finding
from kmnist.protocol.metadata import Signature, TensorSpec

__all__ = ["compare_signatures"]


def compare_signatures(versions: Mapping[int, Mapping[str, Signature]]) -> Iterator[Finding]:
    """What each version of ``versions`` (version → signatures by name) has unlike the newest."""
    if not versions:
        return
    newest = max(versions)
    for version in sorted(set(versions) - {newest}):
        differences = list(_differences(versions[version], versions[newest], newest))
        if differences:
            yield Finding(
                f"version {version} differs from version {newest}: {'; '.join(differences)}",
                "a client written for one fails on the other as soon as a label moves, a version "
                "is published or rolled back",
                "publish what takes other inputs as a model of its own, kmnist-train --output "
                "models/NAME; then delete the odd version: kmnist versions prune",
            )
    if versions[newest] and "serving_default" not in versions[newest]:
        yield Finding(
            f"version {newest} has no signature serving_default, only: "
            + ", ".join(sorted(versions[newest])),
            "a request that names no signature is refused",
            "name one in each request, or export one as serving_default",
            is_problem=False,
        )


def _differences(
    old: Mapping[str, Signature], new: Mapping[str, Signature], newest: int
) -> Iterator[str]:
    for name in sorted(new.keys() - old.keys()):
        yield f"it has no signature {name}"
    for name in sorted(old.keys() - new.keys()):
        yield f"version {newest} has no signature {name}"
    for name in sorted(old.keys() & new.keys()):
        for side in ("inputs", "outputs"):
            before, after = _text(getattr(old[name], side)), _text(getattr(new[name], side))
            if before != after:
                yield f"{name} has the {side} {before}, not {after}"


def _text(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name}: {spec}" for name, spec in sorted(specs.items())) or "none"
