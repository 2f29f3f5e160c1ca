"""The imports between the folders of kmnist point one way."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parents[1] / "kmnist"

# A folder may import those of the floors below its own, and those named beside it.
FLOORS: Final = (
    {"errors", "metrics"},
    {"checks", "files"},
    {"pictures", "protocol"},
    {"data"},
    {"training", "client", "versions"},
    {"export", "server"},
    {"doctor"},
    {"cli"},  # may import the public names of ``kmnist``, too
)


def imports() -> dict[str, set[str]]:
    """Return the parts of ``kmnist`` that each part imports: a part is a folder or a top module."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if part not in ("__init__", "__main__"):
            parts = (name.split(".")[1] for name in imported(path) if name.startswith("kmnist."))
            found[part] |= {other for other in parts if other not in (part, "__version__")}
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield the names, with those of their modules, that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


IMPORTS: Final = imports()


@pytest.mark.parametrize("part", sorted(IMPORTS.keys() - FLOORS[-1]))
def test_a_folder_imports_only_from_the_floors_below(part: str) -> None:
    floor = next(floor for floor, parts in enumerate(FLOORS) if part in parts)
    below = set().union(*FLOORS[:floor])
    assert IMPORTS[part] <= below


def test_the_client_imports_only_the_protocol_the_errors_and_the_checks() -> None:
    assert IMPORTS["client"] <= {"protocol", "errors", "checks"}
