"""The files of the drawing page and their HTTP headers."""

import mimetypes
import os
from pathlib import Path
from typing import Final
from urllib.parse import unquote

__all__ = ["MODEL_PATH", "PAGE_HEADERS", "read_page_file"]

# Contains the name of the model. The file of this name has the default, for other web servers.
MODEL_PATH: Final = "/model.json"

_FOLDER: Final = Path(__file__).parent / "web"

# The page needs only its own files: nothing from other hosts, nothing inline, no frames.
PAGE_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def read_page_file(path: str) -> tuple[bytes, str] | None:
    """Return a file of the page.

    Args:
        path: A URL path; ``/`` stands for ``/index.html``.

    Returns:
        The content and the media type; None if there is no such file.
    """
    name = unquote(path.partition("?")[0]).removeprefix("/") or "index.html"
    if name not in os.listdir(_FOLDER):  # so no spelling of a path leads out of the folder
        return None
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return (_FOLDER / name).read_bytes(), media_type
