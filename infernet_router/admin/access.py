"""Access: which requests are allowed, by Host, by where they come from and by their token."""

import re
from collections.abc import Callable, Collection, Iterable
from enum import IntEnum
from hashlib import sha256
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address, ip_address
from time import monotonic

from attrs import frozen
from twisted.internet.address import UNIXAddress
from twisted.web.server import Request

from infernet_router.admin.guesses import Guesses
from infernet_router.serving.errors import RETRY_SOON, HTTPError

# b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="     RFC 6750, section 2.1
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_MAX_TOKEN = 1000
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)*[a-z0-9_][a-z0-9_-]{0,62}\.?")
_PORT = re.compile(r":[0-9]*$")

_ASK = {b"WWW-Authenticate": b"Bearer"}
"""The header of a 401 (RFC 9110, section 11.6.1)."""


class Role(IntEnum):
    """What a person may do; each role includes the ones before it."""

    ANYONE = 0
    VIEWER = 1
    """May read."""
    OPERATOR = 2
    """May change what the router does."""


class BadToken(ValueError):
    """A token that no request could send; the message says what is wrong, and not the token."""


def check_token(token: str) -> str:
    """
    Return a token that a request can send.

    :raises BadToken: when it cannot.
    """
    if len(token) > _MAX_TOKEN:
        raise BadToken(f"the token has more than {_MAX_TOKEN} characters")
    if not _TOKEN.fullmatch(token):
        raise BadToken("the token has characters other than letters, digits and -._~+/=")
    return token


def parse_host(text: str) -> str:
    """
    Parse a host name by which operators reach the router, without a port.

    :raises ValueError: when it is malformed; the message says what it must be.
    """
    if _NAME.fullmatch(text.lower()):
        return text.lower().removesuffix(".")
    raise ValueError("must be a host name such as router.example.org")


@frozen
class Person:
    """Who sends a request: the name that goes with a token, or nobody in particular."""

    name: str
    role: Role


_LOCAL = Person("local", Role.VIEWER)
"""Who is on this machine may read without a token."""

_NOBODY = Person("", Role.ANYONE)


@frozen
class Grant:
    """
    What a token allows.

    The token itself is not kept: its hash is enough to recognize it.
    """

    person: Person
    digest: bytes


def grant(name: str, role: Role, token: str) -> Grant:
    """What this token allows."""
    return Grant(Person(name, role), sha256(token.encode()).digest())


class Forbidden(HTTPError):
    """The token of a person does not allow a request."""

    def __init__(self, name: str) -> None:
        super().__init__(403, f"{name} may not do this: it takes the role operator")
        self.name = name


class Access:
    """
    Decides which requests are allowed.

    :param grants: returns the tokens that are valid now.
    :param hosts: the names by which operators reach the router, besides localhost and IP addresses.
    :param seconds: the monotonic time, in seconds, for the limit of wrong tokens.
    :param trust_local: whether a peer on this machine may read without a token. A proxy with the
        PROXY protocol could claim that any client is one.
    """

    def __init__(
        self,
        grants: Callable[[], Iterable[Grant]] = tuple,
        hosts: Collection[str] = (),
        seconds: Callable[[], float] = monotonic,
        *,
        trust_local: bool = True,
    ) -> None:
        self._grants = grants
        self._hosts = {"localhost", *hosts}
        self._trust_local = trust_local
        self._guesses = Guesses(seconds)

    def check_host(self, request: Request) -> None:
        """
        Refuse a page that reaches the router under a name of its own (DNS rebinding).

        :raises HTTPError: 403 when Host is neither an IP address nor a known name.
        """
        host = request.getHeader(b"host")
        if host is None:  # HTTP/1.0, which no browser speaks
            return
        name = _PORT.sub("", host.decode("ascii", "replace").strip().lower())
        if name.removesuffix(".") in self._hosts or _is_ip(name.removeprefix("[").rstrip("]")):
            return
        raise HTTPError(403, "Host is not an IP address, localhost or named by --admin-host")

    def admit(self, request: Request, needed: Role) -> Person:
        """
        Who sends a request that needs this role.

        :raises HTTPError: 401 without a token that is needed, or with a wrong one; 403 when the
            token does not allow it, or when none could.
        """
        person = self._identify(request)
        if person is not None and person.role >= needed:
            return person
        if person is not None:
            raise Forbidden(person.name)
        if needed is Role.ANYONE:
            return _NOBODY
        if needed is Role.VIEWER and self._is_local(request):
            return _LOCAL
        if needed is Role.OPERATOR and not any(True for _ in self._grants()):
            raise HTTPError(
                403, "no token is configured: see --admin-tokens and INFERNET_ROUTER_ADMIN_TOKEN"
            )
        raise HTTPError(401, "this takes a token: Authorization: Bearer TOKEN", _ASK)

    def _identify(self, request: Request) -> Person | None:
        """
        Whose token a request has; None without one.

        All tokens are compared, each in constant time, so that the time tells nothing of them.

        :raises HTTPError: 401 when nobody has this token, 429 after too many wrong ones.
        """
        headers = request.requestHeaders.getRawHeaders(b"authorization")
        if not headers:
            return None
        peer = _network(request)
        if self._guesses.are_too_many(peer):
            raise HTTPError(429, "there were too many wrong tokens", RETRY_SOON)
        scheme, _, token = headers[0].strip().partition(b" ")
        found = None
        if len(headers) == 1 and scheme.lower() == b"bearer":
            digest = sha256(token.strip()).digest()
            for known in self._grants():
                if compare_digest(known.digest, digest):
                    found = known.person
        if found is None:
            self._guesses.add(peer)
            raise HTTPError(401, "the token is wrong", _ASK)
        return found

    def _is_local(self, request: Request) -> bool:
        """Whether the peer of the connection, whatever headers say, is on this machine."""
        peer = request.getClientAddress()
        if isinstance(peer, UNIXAddress):
            return self._trust_local
        return self._trust_local and _is_loopback(getattr(peer, "host", ""))


def peer_of(request: Request) -> str:
    """The peer of a connection, as the audit names it: its IP address, or unix."""
    return getattr(request.getClientAddress(), "host", None) or "unix"


def _network(request: Request) -> bytes:
    """The peer of a connection; of IPv6, the 64 bits that its owner cannot choose."""
    host: str | None = getattr(request.getClientAddress(), "host", None)
    return b"" if host is None else _plain(host).packed[:8]


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    """Whether an IP address, perhaps one of IPv4 mapped into IPv6, is of this machine."""
    return _plain(text).is_loopback


def _plain(text: str) -> IPv4Address | IPv6Address:
    """An IP address, as IPv4 if it is mapped into IPv6."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
