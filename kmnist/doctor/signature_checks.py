"""Whether all versions of a model have the same signatures."""

from collections.abc import Iterator, Mapping

from kmnist.doctor.report import Finding
from kmnist.protocol.messages import Signature, TensorSpec

__all__ = ["compare_signatures"]


def compare_signatures(versions: Mapping[int, Mapping[str, Signature]]) -> Iterator[Finding]:
    """Compare the signatures of every version with those of the newest one.

    Args:
        versions: Version number → name of the signature → signature.

    Yields:
        A problem for each version that differs, and a warning if the newest version has no default
        signature.
    """
    if not versions:
        return
    newest = max(versions)
    for version in sorted(set(versions) - {newest}):
        differences = list(_differences(versions[version], versions[newest], newest))
        if differences:
            yield Finding(
                f"version {version} differs from version {newest}: {'; '.join(differences)}",
                "a client written for one of them fails with the other as soon as a label moves, or "
                "a version is published or rolled back",
                "publish models with different signatures in different folders, and delete the old "
                "version: kmnist versions prune",
            )
    if versions[newest] and "serving_default" not in versions[newest]:
        yield Finding(
            f"version {newest} has no signature serving_default, only: "
            + ", ".join(sorted(versions[newest])),
            "a request that names no signature is refused",
            "name a signature in every request, or export one as serving_default",
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
