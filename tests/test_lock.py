"""``scripts/lock`` prints what pip reports, with hashes."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "lock"


def test_every_file_is_printed_with_its_hash(tmp_path: Path) -> None:
    folder = {"metadata": {"name": "kmnist", "version": "1"}, "download_info": {"dir_info": {}}}
    archive = {
        "metadata": {"name": "click", "version": "8.5.1"},
        "download_info": {"archive_info": {"hashes": {"sha256": "8bb5"}}},
    }
    (tmp_path / "report.json").write_text(json.dumps({"install": [folder, archive]}))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    pip = tmp_path / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/arguments\ncat {tmp_path}/report.json\n')
    pip.chmod(0o755)
    run = subprocess.run(
        [SCRIPT, ".[dev]"],
        check=True,
        env=os.environ | {"VENV": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.stdout == "click==8.5.1 --hash=sha256:8bb5\n"
    arguments = (tmp_path / "arguments").read_text()
    assert "--dry-run" in arguments
    assert arguments.endswith("-c constraints.txt .[dev] hatchling\n")
