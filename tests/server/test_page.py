"""The files of the drawing page and their headers."""

import pytest

from kmnist.server import Server
from tests.server.calls import ask


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html"),
        ("/index.html?x=1", "text/html"),
        ("/main.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
        ("/model.json", "application/json"),
    ],
)
def test_files_have_their_type_and_security_headers(
    server: Server, path: str, media_type: str
) -> None:
    answer = ask(server, path)
    assert (answer.status, answer.type) == (200, media_type)
    assert answer.headers["Server"] == "kmnist"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/../page.py"),
        ("GET", "/..%2fpage.py"),
        ("GET", "//etc/passwd"),
        ("GET", "/v2/models/kmnist"),
        ("POST", "/main.js"),
    ],
)
def test_other_paths_are_html_with_status_404(server: Server, method: str, path: str) -> None:
    answer = ask(server, path, b"" if method == "POST" else None, method=method)
    assert (answer.status, answer.type) == (404, "text/html")
