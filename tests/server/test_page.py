"""The files of the drawing page and their headers."""

from pathlib import Path

import pytest

from kmnist.server import Server, page
from tests.server.calls import ask


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a page, and a secret beside it."""
    folder = tmp_path / "web"
    (folder / "images").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>")
    (folder / "page.js").write_text("draw()")
    (folder / "images" / "one.svg").write_text("<svg/>")
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(page, "_FOLDER", folder)
    return folder


@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        ("/", "text/html", b"<!doctype html>"),
        ("/index.html?x=1", "text/html", b"<!doctype html>"),
        ("/page.js", "text/javascript", b"draw()"),
        ("/images/one.svg", "image/svg+xml", b"<svg/>"),
    ],
)
def test_files_are_served_with_security_headers(
    server: Server, folder: Path, path: str, media_type: str, body: bytes
) -> None:
    answer = ask(server, path)
    assert (answer.status, answer.type, answer.body) == (200, media_type, body)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_a_head_request_gets_no_body(server: Server, folder: Path) -> None:
    answer = ask(server, "/page.js", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == "6"


@pytest.mark.parametrize(
    "path", ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/images", "/images/", "/nothing"]
)
def test_other_paths_do_not_exist(server: Server, folder: Path, path: str) -> None:
    assert ask(server, path).status == 404


def test_files_cannot_be_written(server: Server, folder: Path) -> None:
    assert ask(server, "/page.js", b"x", method="POST").status == 404


def test_a_link_out_of_the_folder_is_not_followed(server: Server, folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent / "secret")
    assert ask(server, "/link").status == 404
