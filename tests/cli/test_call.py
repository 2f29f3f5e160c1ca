"""``kmnist call``."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kmnist import Dataset
from kmnist.cli import main
from kmnist.server import Server


def call(served: Server, scheme: str, body: Any, *arguments: str) -> Result:
    """Run the command with a body on standard input."""
    url = served.grpc_url if scheme == "grpc" else served.rest_url
    text = body if isinstance(body, str) else json.dumps(body)
    return CliRunner().invoke(main, ["call", "-", "--server", url, *arguments], input=text)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_the_answer_has_the_form_of_the_request(
    served: Server, tiny_dataset: Dataset, tmp_path: Path, scheme: str
) -> None:
    images = tiny_dataset.test.images[:2].tolist()
    by_row = json.loads(call(served, scheme, {"instances": images}).stdout)["predictions"]
    by_column = json.loads(call(served, scheme, {"inputs": {"images": images}}).stdout)["outputs"]
    assert [row["class_ids"] for row in by_row] == by_column["class_ids"]
    assert [row["class_names"] for row in by_row] == by_column["class_names"]
    assert by_column["probabilities"] == [row["probabilities"] for row in by_row]
    path = tmp_path / "body.json"
    path.write_text(json.dumps({"signature_name": "classes", "inputs": {"class_ids": [7]}}))
    done = CliRunner().invoke(main, ["call", str(path), "--server", served.grpc_url])
    assert "weights" in done.stdout, done.output
    named = call(served, scheme, {"inputs": {"class_ids": [7]}}, "--signature", "classes")
    assert json.loads(named.stdout) == json.loads(done.stdout)


@pytest.mark.parametrize(
    ("body", "arguments", "message"),
    [
        ("", [], "-: JSON Parse error: "),
        ({}, [], "-: the body must have one of the keys 'instances' and 'inputs'"),
        ('{"inputs": {"images": 1, "images": 2}}', [], "has the key 'images' twice"),
        ({"inputs": {"pictures": []}}, [], "-: inputs must be an object with the keys images"),
        ({"inputs": [[[0.5]]]}, [], "-: input 'images' must consist of uint8, not 0.5"),
        (
            {"inputs": [[[0]]]},
            [],
            r"'images' must be uint8 \(n, 28, 28\), not of shape \(1, 1, 1\)",
        ),
        ({"inputs": 1}, ["--signature", "x"], "has no signature 'x'; it has classes, explain, pic"),
    ],
)
def test_a_bad_body_is_one_line(
    served: Server, body: Any, arguments: list[str], message: str
) -> None:
    done = call(served, "grpc", body, *arguments)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert done.exit_code == (1 if arguments else 2)
    assert re.search(message, done.stderr)
