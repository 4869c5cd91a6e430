"""The status page: its files, as browsers get them."""

from functools import cache
from hashlib import blake2b
from importlib.resources import files

from attrs import frozen

from infernet_router.serving.errors import HTTPError

_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
"""The content type of each kind of file; no other file is served."""


@frozen
class File:
    """A file of the page."""

    content: bytes
    content_type: bytes
    tag: bytes
    """Its entity tag."""


def page_file(name: str) -> File:
    """
    The file with this name.

    :raises HTTPError: 404 when the page has no such file.
    """
    found = _files().get(name)
    if found is None:
        raise HTTPError(404, "the status page has no such file")
    return found


@cache
def _files() -> dict[str, File]:
    """All files by name; they are read when a browser asks for the first one."""
    found = {}
    for path in files(__package__).iterdir():
        content_type = _TYPES.get(path.name[path.name.rfind(".") :])
        if content_type is not None:
            content = path.read_bytes()
            tag = b'"%b"' % blake2b(content, digest_size=12).hexdigest().encode()
            found[path.name] = File(content, content_type, tag)
    return found
