"""Changing: whether a request may change something, and what of which node it is about."""

import re
from urllib.parse import unquote, unquote_to_bytes

from twisted.web.http import Request as HTTPRequest
from twisted.web.server import Request

from infernet_router.addresses import BadAddress, NodeAddress, parse_address
from infernet_router.admin.access import Access, Forbidden, Role, peer_of
from infernet_router.admin.steering import Steering
from infernet_router.serving.errors import HTTPError

_OVERRIDE = re.compile(rb"/+admin/v1/nodes/([^/]+)/override")
_VERBS = {b"PUT": "put", b"DELETE": "delete"}
"""By method, what the audit calls a request."""

_LONGEST = 200
"""The most characters of a path that the audit has."""


def check_change(request: Request, access: Access, steering: Steering) -> None:
    """
    Check that a request may change something, and record it if it may not.

    :raises HTTPError: when it may not.
    """
    name = ""
    try:
        access.check_host(request)
        name = access.admit(request, Role.OPERATOR).name
        kind = request.getHeader(b"content-type") or b""
        is_json = kind.partition(b";")[0].strip().lower() == b"application/json"
        if body_of(request) and not is_json:
            raise HTTPError(415, "Content-Type must be application/json")
    except HTTPError as error:
        found = _OVERRIDE.fullmatch(request.path)
        target = unquote((found[1] if found else request.path).decode("ascii", "replace"))
        name = error.name if isinstance(error, Forbidden) else name
        verb = _VERBS.get(request.method, "other")
        steering.refused(peer_of(request), verb, target[:_LONGEST], error, name)
        raise


def body_of(request: HTTPRequest) -> bytes:
    """The body of a request, which is at most 64 KiB long."""
    assert request.content is not None
    request.content.seek(0)
    body: bytes = request.content.read()
    return body


def address_in(text: str) -> NodeAddress:
    """
    The address of a node that is a part of a path, percent-encoded.

    :raises HTTPError: 400 when it is malformed.
    """
    try:
        return parse_address(unquote_to_bytes(text).decode())
    except (BadAddress, UnicodeDecodeError) as error:
        why = error if isinstance(error, BadAddress) else "it is not UTF-8"
        raise HTTPError(400, f"this is not the address of a node: {why}") from None
