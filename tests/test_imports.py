"""The imports between the folders of kmnist point one way.

``python -m tests.test_imports`` prints them.
"""

import ast
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

import kmnist

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
    {"cli"},
)


def imports() -> dict[str, set[str]]:
    """Return the parts of ``kmnist`` that each part imports: a part is a folder or a top module."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if part in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert not node.level, f"{path} has a relative import"
                names = [node.module]
                if node.module == "kmnist":
                    names = [_module_of(alias.name) for alias in node.names]
            found[part] |= {name.split(".")[1] for name in names if name.startswith("kmnist.")} - {
                part
            }
    return found


def _module_of(name: str) -> str:
    """Return the module that a name imported from ``kmnist`` leads to."""
    return kmnist._MODULES.get(name, f"kmnist.{name}")


@pytest.mark.parametrize("part", sorted(imports()))
def test_a_folder_imports_only_from_the_floors_below(part: str) -> None:
    floor = next(floor for floor, parts in enumerate(FLOORS) if part in parts)
    below = set().union(*FLOORS[:floor])
    assert imports()[part] <= below


def test_the_client_imports_only_the_protocol_the_errors_and_the_checks() -> None:
    assert imports()["client"] <= {"protocol", "errors", "checks"}


if __name__ == "__main__":
    for importer, imported in sorted(imports().items()):
        sys.stdout.write(f"{importer:9} → {', '.join(sorted(imported)) or '-'}\n")
