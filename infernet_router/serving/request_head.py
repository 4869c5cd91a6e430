"""
Validates the head of a request before Twisted parses it.

Theory of operation: parse_head() is called with all bytes that a client has sent since its last
request, each time there are more. It has one of three results:

* the head, once it is complete and valid: Twisted can then parse exactly this head, and accepts it;
* None while the bytes could still become a valid head;
* an HTTPError as soon as they cannot, with the status that fits best.

A head that announces a body, or whose target is a URL, is given to Twisted without either: the
Channel skips the body, and the host of the URL replaces Host. Twisted is not told of Expect, since
it would send 100 Continue by itself.

In the common case, one match of the request line and one of all header fields decide. Only when
these fail is the head examined again, to find out whether bytes are missing or what is wrong. The
patterns use possessive quantifiers (`*+`), which never backtrack: time is linear in the bytes,
whatever a client sends. No message repeats what the client sent.

The grammar above each pattern is that of RFC 9112 (HTTP/1.1), RFC 9110 (HTTP semantics) and RFC
3986 (URI).
"""

import re
from typing import cast

from msgspec import Struct

from infernet_router.serving.errors import HTTPError
from infernet_router.serving.request_body import (
    MAX_BODY,
    Body,
    ChunkedBody,
    SizedBody,
    too_large,
)

MAX_HEAD = 16 * 1024
"""The most bytes of a head, request line included: Twisted's own limit."""

_MAX_FIELDS = 100
"""The most header fields of a request; browsers behind proxies send about 30."""

_MAX_METHOD = 20
"""The most characters of a method; the longest in the IANA registry has 17."""

# token = 1*tchar                                                         RFC 9110, section 5.6.2
# tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." /
#         "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA
_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"

# method = token                                                            RFC 9112, section 3.1
_METHOD = re.compile(rb"%b*" % _TCHAR)

# request-line = method SP request-target SP HTTP-version                     RFC 9112, section 3
# request-target = origin-form / absolute-form / authority-form / asterisk-form
# origin-form = absolute-path [ "?" query ]
#
# Any visible ASCII characters are accepted in the target, since clients do not escape ids. "A
# server [...] SHOULD ignore at least one empty line (CRLF) received prior to the request-line"
# (section 2.2): old clients send one after a request.
_REQUEST_LINE = re.compile(
    rb"(?:\r\n)?%b{1,%d}+ /[!-~]*+ HTTP/1\.(?P<minor>[01])\r\n" % (_TCHAR, _MAX_METHOD)
)

# uri-host [ ":" port ]                                                     RFC 9110, section 7.2
# host = IP-literal / IPv4address / reg-name                              RFC 3986, section 3.2.2
# reg-name = *( unreserved / pct-encoded / sub-delims )
# unreserved = ALPHA / DIGIT / "-" / "." / "_" / "~"                        RFC 3986, section 2.3
# sub-delims = "!" / "$" / "&" / "'" / "(" / ")" / "*" / "+" / "," / ";" / "="
# port = *DIGIT                                                           RFC 3986, section 3.2.3
_AUTHORITY = rb"(?:\[[0-9A-Fa-f:.]++\]|[a-zA-Z0-9\-._~%!$&'()*+,;=]*+)(?::[0-9]*+)?"

# absolute-form = absolute-URI                                            RFC 9112, section 3.2.2
# http-URI = "http" "://" authority path-abempty [ "?" query ]            RFC 9110, section 4.2.1
#
# asterisk-form = "*"                                                     RFC 9112, section 3.2.4
#
# "A sender MUST NOT generate an "http" URI with an empty host identifier."
_RARE_LINE = re.compile(
    rb"(?:\r\n)?(?:OPTIONS \*|(?P<method>%b{1,%d}+) [Hh][Tt][Tt][Pp][Ss]?://(?![:/?])(?P<host>%b)"
    rb"(?P<path>/[!-~]*+)?(?P<query>\?[!-~]*+)?) HTTP/1\.(?P<minor>[01])\r\n"
    % (_TCHAR, _MAX_METHOD, _AUTHORITY)
)

# HTTP-version = HTTP-name "/" DIGIT "." DIGIT                              RFC 9112, section 2.3
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")

# HTTP-message = start-line CRLF *( field-line CRLF ) CRLF [ message-body ] RFC 9112, section 2.1
# field-line = field-name ":" OWS field-value OWS                             RFC 9112, section 5
# field-name = token                                                        RFC 9110, section 5.1
# field-value = *field-content                                              RFC 9110, section 5.5
# field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]
# field-vchar = VCHAR / obs-text
# obs-text = %x80-FF
_FIELDS = re.compile(rb"(?:%b++:[\t -~\x80-\xff]*+\r\n){0,%d}+" % (_TCHAR, _MAX_FIELDS))

# Host = uri-host [ ":" port ]                                              RFC 9110, section 7.2
#
# This and the next are matched with fields in lower case.
_HOST = re.compile(rb"\nhost:[\t ]*+%b[\t ]*+\r" % _AUTHORITY)

# Content-Length = 1*DIGIT                                                  RFC 9110, section 8.6
# Transfer-Encoding = #transfer-coding                                      RFC 9112, section 6.1
#
# Any value is matched, so that one that is malformed can be refused.
_CONTENT_LENGTH = re.compile(rb"\ncontent-length:([^\r]*+)")
_TRANSFER_ENCODING = re.compile(rb"\ntransfer-encoding:([^\r]*+)")

# Expect = #expectation                                                   RFC 9110, section 10.1.1
_EXPECT_CONTINUE = re.compile(rb"\nexpect:[\t ]*+100-continue[\t ]*+\r")

_UNPRINTABLE = re.compile(rb"[^ -~]")

_TOO_LARGE = f"the request head is larger than {MAX_HEAD // 1024} KiB"


class Head(Struct, frozen=True):
    """The head of a request. One is made for each, and a Struct takes the least time."""

    length: int
    """The bytes that it took, with the empty line that ends it."""
    content: bytes
    """The head that Twisted is to parse: its target is a path or `*`, and it announces no body."""
    body: Body | None = None
    """The body that follows; None if there is none."""
    expects_continue: bool = False
    """Whether the client waits for 100 Continue before it sends the body."""


def parse_head(received: bytes) -> Head | None:
    """
    The head at the start of these bytes; None if it is incomplete.

    :param received: all bytes since the last request.
    :raises HTTPError: when these bytes cannot become a valid head.
    """
    line = _REQUEST_LINE.match(received) or _RARE_LINE.match(received)
    if not line or line.end() > MAX_HEAD:
        _check_request_line(received)
        return None
    fields_end = cast(re.Match[bytes], _FIELDS.match(received, line.end())).end()
    if not received.startswith(b"\r\n", fields_end):
        _check_next_field(received, line.end(), fields_end)
        return None
    length = fields_end + 2
    if length > MAX_HEAD:
        raise HTTPError(431, _TOO_LARGE)
    fields = received[line.end() - 1 : fields_end].lower()
    has_body = b"\ncontent-length:" in fields or b"\ntransfer-encoding:" in fields
    body = _body(fields, line["minor"]) if has_body else None
    hosts = fields.count(b"\nhost:")
    if hosts != 1 and (hosts or line["minor"] == b"1"):
        raise HTTPError(400, "Host is given more than once" if hosts else "Host is missing")
    if hosts and not _HOST.search(fields):
        raise HTTPError(400, "Host is not a host name")
    if not has_body and line.re is _REQUEST_LINE and b"\nexpect:" not in fields:
        return Head(length, received[:length])
    expects = line["minor"] == b"1" and _EXPECT_CONTINUE.search(fields) is not None
    return Head(length, _rewritten(line, received[line.end() : fields_end]), body, expects)


def _rewritten(line: re.Match[bytes], fields: bytes) -> bytes:
    """
    A head without the fields that are about a body, and with a path for a target.

    The host of a URL replaces Host (RFC 9112, section 3.2.2).
    """
    request_line = line[0]
    dropped: tuple[bytes, ...] = (b"content-length:", b"transfer-encoding:", b"expect:")
    if line.re is _RARE_LINE and line["host"]:
        path, query = line["path"] or b"", line["query"] or b""
        # "If a proxy receives an OPTIONS request with an absolute-form of request-target in which
        # the URI has an empty path and no query component, then the last proxy [...] MUST send a
        # request-target of "*"" (section 3.2.4).
        target = path + query if path else b"/" + query
        if line["method"] == b"OPTIONS" and target == b"/" and not path:
            target = b"*"
        parts = line["method"], target, line["minor"], line["host"]
        request_line = b"%b %b HTTP/1.%b\r\nHost: %b\r\n" % parts
        dropped += (b"host:",)
    kept = (f for f in fields.splitlines(keepends=True) if not f.lower().startswith(dropped))
    return b"".join((request_line, *kept, b"\r\n"))


def _check_request_line(received: bytes) -> None:
    """
    Check that bytes which do not begin with a request line could still become one.

    :raises HTTPError: when they cannot.
    """
    line, newline, _ = received.removeprefix(b"\r\n").partition(b"\n")
    method = cast(re.Match[bytes], _METHOD.match(line))[0]
    # "A server that receives a method longer than any that it implements SHOULD respond with a 501
    # [...] A server that receives a request-target longer than any URI it wishes to parse MUST
    # respond with a 414" (RFC 9112, section 3).
    if len(method) > _MAX_METHOD:
        raise HTTPError(501, "there is no such method")
    if len(line) + 3 > MAX_HEAD:
        raise HTTPError(414, f"the request line is larger than {MAX_HEAD // 1024} KiB")
    text = line.removesuffix(b"\r")
    if text and (not method or text[len(method) : len(method) + 1] not in (b"", b" ")):
        raise HTTPError(400, "malformed method")
    if _UNPRINTABLE.search(text):
        raise HTTPError(400, "the request line has characters that are not printable ASCII")
    if not newline:
        return
    parts = text.split(b" ")
    if text == line or len(parts) != 3 or not _VERSION.fullmatch(parts[2]):
        raise HTTPError(400, "the request line must be METHOD /PATH HTTP/1.1 and CR LF")
    if parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise HTTPError(505, "the version of HTTP must be 1.1 or 1.0")
    raise HTTPError(400, "the request target must be a path or an http:// URL")


def _check_next_field(received: bytes, start: int, end: int) -> None:
    """
    Check that a valid header field or the end of the head can follow.

    :param start: where the header fields begin.
    :param end: where the last valid and complete field ends.
    :raises HTTPError: when the bytes from there cannot become either.
    """
    if b"\n" in received[end:]:
        if received.count(b"\n", start, end) == _MAX_FIELDS:
            raise HTTPError(431, f"there are more than {_MAX_FIELDS} header fields")
        raise HTTPError(400, "a header field must be NAME: VALUE and CR LF")
    if len(received) > MAX_HEAD:
        raise HTTPError(431, _TOO_LARGE)


def _body(fields: bytes, minor: bytes) -> Body | None:
    """
    The body that Content-Length or Transfer-Encoding announces; None if it is empty.

    :raises HTTPError: when it is too large, or when its end is not beyond doubt.
    """
    lengths = [value.strip(b"\t ") for value in _CONTENT_LENGTH.findall(fields)]
    codings = [value.strip(b"\t ") for value in _TRANSFER_ENCODING.findall(fields)]
    if codings:
        # "A server [...] that receives an HTTP/1.0 message containing a Transfer-Encoding header
        # field MUST treat the message as if the framing is faulty" (RFC 9112, section 6.1).
        if lengths or minor == b"0":
            raise HTTPError(400, "Transfer-Encoding needs HTTP/1.1, and no Content-Length")
        if codings != [b"chunked"]:
            raise HTTPError(501, "the only transfer coding is chunked")
        return ChunkedBody()
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise HTTPError(400, "Content-Length must be one whole number")
    digits = lengths[0].lstrip(b"0") or b"0"
    if len(digits) > len(str(MAX_BODY)) or int(digits) > MAX_BODY:
        raise too_large()
    return None if digits == b"0" else SizedBody(int(digits))
