"""Heads: how far the head of a request goes, or what is wrong with it, before any of it is used."""

import re
from typing import cast

from infernet_router.errors import HTTPError

MAX_HEAD = 16 * 1024
"""Bytes of a head, its request line included: what Twisted takes."""

_MAX_FIELDS = 100
"""Header fields of a request; browsers and the proxies before them send about 30."""

_LONGEST_METHOD = 20
"""The longest method with a name in the registry of IANA has 17 characters."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_METHOD = re.compile(rb"%b*" % _TOKEN)
_REQUEST_LINE = re.compile(
    rb"(?:\r\n)?%b{1,%d}+ /[!-~]*+ HTTP/1\.([01])\r\n" % (_TOKEN, _LONGEST_METHOD)
)
"""Clients of old send an empty line after a request (RFC 9112, section 2.2)."""
_FIELDS = re.compile(rb"(?:%b++:[\t -~\x80-\xff]*+\r\n){0,%d}+" % (_TOKEN, _MAX_FIELDS))
_HOST = re.compile(
    rb"\nhost:[\t ]*(?:\[[0-9a-f:.]+\]|[a-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]*)?[\t ]*\r"
)
"""A name or address and perhaps a port, or nothing (RFC 9110, section 7.2)."""
_LENGTH = re.compile(rb"\ncontent-length:[\t ]*([^\r]*?)[\t ]*\r")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_UNPRINTABLE = re.compile(rb"[^ -~]")


def head_length(received: bytes) -> int:
    """
    Bytes of the head that was received, up to the empty line at its end; 0 while that is to come.

    Twisted refuses none that is let through here. Nothing that was received is in any reason.

    :param received: all that came since the last request.
    :raises HTTPError: as soon as it cannot become the head of a request without a body.
    """
    line = _REQUEST_LINE.match(received)
    if not line or line.end() > MAX_HEAD:
        _check_line(received)
        return 0
    fields_end = cast(re.Match[bytes], _FIELDS.match(received, line.end())).end()
    if not received.startswith(b"\r\n", fields_end):
        _check_rest(received, line.end(), fields_end)
        return 0
    length = fields_end + 2
    if length > MAX_HEAD:
        raise HTTPError(431, f"the head is larger than {MAX_HEAD // 1024} KiB")
    fields = received[line.end() - 1 : fields_end].lower()
    if b"\ncontent-length:" in fields or b"\ntransfer-encoding:" in fields:
        _check_no_body(fields)
    hosts = fields.count(b"\nhost:")
    if hosts != 1 and (hosts or line[1] == b"1"):
        raise HTTPError(400, "Host is given more than once" if hosts else "there is no Host")
    if hosts and not _HOST.search(fields):
        raise HTTPError(400, "Host is not a host name")
    return length


def _check_line(received: bytes) -> None:
    """
    See whether a request line can still come of this.

    :raises HTTPError: when it cannot.
    """
    line, newline, _ = received.removeprefix(b"\r\n").partition(b"\n")
    method = cast(re.Match[bytes], _METHOD.match(line))[0]
    if len(method) > _LONGEST_METHOD:
        raise HTTPError(501, "there is no such method")
    if len(line) + 3 > MAX_HEAD:
        raise HTTPError(414, f"the request line is larger than {MAX_HEAD // 1024} KiB")
    text = line.removesuffix(b"\r")
    if text and (not method or text[len(method) : len(method) + 1] not in (b"", b" ")):
        raise HTTPError(400, "the method is none")
    if _UNPRINTABLE.search(text):
        raise HTTPError(400, "the request line has characters that are not printable ASCII")
    if not newline:
        return
    parts = text.split(b" ")
    if text == line or len(parts) != 3 or not _VERSION.fullmatch(parts[2]):
        raise HTTPError(400, "the request line is not METHOD /PATH HTTP/1.1 and CR LF")
    if parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise HTTPError(505, "the version of HTTP must be 1.1 or 1.0")
    raise HTTPError(400, "what is asked for is no path")


def _check_rest(received: bytes, start: int, end: int) -> None:
    """
    See whether a head can still come of this, which has good fields from `start` to `end`.

    :raises HTTPError: when it cannot.
    """
    if b"\n" in received[end:]:
        if received.count(b"\n", start, end) == _MAX_FIELDS:
            raise HTTPError(431, f"there are more than {_MAX_FIELDS} header fields")
        raise HTTPError(400, "a header field is not NAME: VALUE and CR LF")
    if len(received) > MAX_HEAD:
        raise HTTPError(431, f"the head is larger than {MAX_HEAD // 1024} KiB")


def _check_no_body(fields: bytes) -> None:
    """
    See whether the one field that tells of a body says that there is none.

    :raises HTTPError: when it does not.
    """
    lengths = _LENGTH.findall(fields)
    if b"\ntransfer-encoding:" not in fields:
        if len(lengths) > 1 or not lengths[0].isdigit():
            raise HTTPError(400, "Content-Length is not one whole number")
        if lengths[0] == b"0":
            return
    raise HTTPError(413, "a request must not have a body")
