"""The routes of the REST port."""

import json
import logging
from collections.abc import Iterator

import pytest

from kmnist.server import Server
from tests.server.calls import BODY, IMAGES, PREDICT, ask


@pytest.fixture(autouse=True)
def server_still_works(server: Server, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test, the server answers a valid request."""
    caplog.set_level(logging.INFO, "kmnist")
    yield
    assert ask(server, PREDICT, BODY).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[" * 1_000_000,
        b'{"instances": ' + b'{"a": ' * 50_000,
        b'{"instances": "\xff\xfe"}',
        b'{"instances": [NaN]}',
        b'{"instances": [[[-1]]]}',
        b'{"instances": [[[300]]]}',
        b'{"instances": [[[1, 2], [3]]]}',
        b'{"instances": [[["1"]]]}',
        b'{"instances": {"images": 1}}',
        b"\0" * 100,
    ],
    ids=range(11),
)
def test_an_invalid_body_is_refused_and_logged(
    server: Server, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    answer = ask(server, PREDICT, body)
    assert answer.status == 400
    assert answer.body.keys() == {"error"}
    assert len(answer.body["error"]) < 500
    assert f"POST {PREDICT} 400" in caplog.text


@pytest.mark.parametrize(
    ("body", "beginning"),
    [
        (b"", "JSON Parse error: "),
        (b"images", "JSON Parse error: "),
        (b"[1]", "the body must be"),
        (b"{}", "the body must have"),
        (b'{"instances": []}', "instances must be"),
        (b'{"instances": [[[1, 2], [3]]]}', "input 'images' has lists of different lengths"),
    ],
    ids=["empty", "not JSON", "not an object", "neither key", "no values", "ragged"],
)
def test_messages_begin_as_those_of_tensorflow_serving(
    server: Server, body: bytes, beginning: str
) -> None:
    answer = ask(server, PREDICT, body)
    assert answer.status == 400
    assert answer.body["error"].startswith(beginning)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/kmnist/versions/-1:predict", 400),
        ("/v1/models/kmnist/versions/1.0:predict", 400),
        (f"/v1/models/kmnist/versions/{2**63}:predict", 400),
        (f"/v1/models/kmnist/versions/{'9' * 5000}:predict", 400),
        (f"/v1/models/kmnist/versions/{2**63 - 1}:predict", 404),
        (f"/v1/models/kmnist/versions/{'0' * 5000}:predict", 404),
        ("/v1/models/kmnist/versions/0000000000000000000000001:predict", 200),
        ("/v1/models/%2e%2e:predict", 404),
        ("/v1/models/../../etc/passwd:predict", 400),
        ("/v1/models/kmnist/../kmnist:predict", 400),
        ("/v1/models/%ff%00:predict", 404),
        ("/v1/models/kmnist?version=1:predict", 404),
        ("/v1/models/kmnist/labels/%2e%2e:predict", 400),
        ("/v1/models/KMNIST:predict", 404),
        ("/V1/MODELS/kmnist:PREDICT", 200),
        ("/v1/models/kmnist/versions/1/labels/x:predict", 400),
        ("/v1/", 400),
        ("/v1/models", 400),
        ("/v1/models/", 400),
    ],
)
def test_paths_inside_the_api(server: Server, path: str, status: int) -> None:
    answer = ask(server, path, BODY)
    assert answer.status == status
    assert answer.body.keys() == ({"predictions"} if status == 200 else {"error"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/kmnist:predict"),
        ("POST", "/v1/models/kmnist"),
        ("DELETE", "/v1/models/kmnist"),
        ("GET", "/v1/modles/kmnist"),
        ("POST", "/v1/models/kmnist:guess"),
        ("GET", "/v1/models/kmnist/versions/-1"),
    ],
)
def test_a_wrong_path_or_verb_is_malformed(server: Server, method: str, path: str) -> None:
    answer = ask(server, path, b"{}" if method == "POST" else None, method=method)
    assert answer.status == 400
    assert answer.body == {"error": f"Malformed request: {method} {path}"}


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/kmnist",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/..%2fserver.py",
        "/%00",
    ],
)
def test_other_paths_are_html_with_status_404(server: Server, path: str) -> None:
    answer = ask(server, path)
    assert (answer.status, answer.type) == (404, "text/html")


def test_metadata(mixed_server: Server) -> None:
    body = ask(mixed_server, "/v1/models/mixed/metadata").body
    assert body["model_spec"] == {"name": "mixed", "signature_name": "", "version": "1"}
    add = body["metadata"]["signature_def"]["signature_def"]["add"]
    assert add.keys() == {"inputs", "outputs", "method_name", "defaults"}
    assert add["method_name"] == "tensorflow/serving/predict"
    assert add["defaults"] == {}
    assert add["inputs"]["a"] == {
        "dtype": "DT_INT64",
        "name": "add_a:0",
        "tensor_shape": {"dim": [{"name": "", "size": "-1"}], "unknown_rank": False},
    }


def test_the_page_learns_the_name_of_the_model(mixed_server: Server) -> None:
    answer = ask(mixed_server, "/model.json")
    assert (answer.status, answer.body) == (200, {"model": "mixed"})
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models/{}:predict", "Latest({})"),
        ("/v1/models/kmnist/labels/{}:predict", "label: {}"),
        ("/v1/models/{}", "of model {}"),
        ("/v1/{}", "Malformed request: POST /v1/{}"),
    ],
)
def test_a_long_name_is_cut_off_in_messages_and_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture, path: str, name: str
) -> None:
    answer = ask(server, path.format("n" * 5000), BODY)
    assert (
        name.partition("{")[0][:10] in answer.body["error"] or "Malformed" in answer.body["error"]
    )
    assert len(answer.body["error"]) < 300
    assert len(caplog.text) < 1000


def test_the_status_of_a_label_lists_all_versions(server: Server) -> None:
    assert len(ask(server, "/v1/models/kmnist/labels/x").body["model_version_status"]) == 1


def test_a_request_in_column_form_gets_columns(server: Server) -> None:
    answer = ask(server, PREDICT, json.dumps({"inputs": IMAGES.tolist()}).encode())
    assert answer.body["outputs"]["class_ids"] == [1]
    assert answer.body["outputs"]["class_names"] == ["1"]
