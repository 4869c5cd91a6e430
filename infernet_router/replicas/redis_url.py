"""The URL of a Redis server: where it is, and who the router is there."""

import re
from urllib.parse import unquote

from attrs import field, frozen

from infernet_router.hosts import BadAddress, url_host

_PORT = 6379
"""The port of Redis when the URL has none."""

_MAX_PATH = 107
"""The most bytes in the path of a Unix socket on Linux."""

_DATABASE = re.compile(r"[0-9]{1,5}", re.ASCII)
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")

SHAPE = "redis://USER:PASSWORD@HOST:PORT/DB, rediss:// for TLS, or unix://USER:PASSWORD@/PATH?db=DB"
"""What a URL of Redis looks like; all parts but the host or path are optional."""


class BadRedisUrl(ValueError):
    """A text that is not the URL of a Redis server; the message says why, and shows no secret."""


@frozen
class RedisUrl:
    """
    Where a Redis server is, and how to log in.

    :ivar host: its name or IP address, without brackets; empty for a Unix socket.
    :ivar path: of the Unix socket; empty if there is none.
    :ivar user: empty for Redis's default user.
    :ivar database: the number of the database that keys are in; channels are in none.
    """

    host: str = ""
    port: int = _PORT
    path: str = ""
    tls: bool = False
    user: str = ""
    password: str | None = field(default=None, repr=False)
    database: int = 0

    def __str__(self) -> str:
        """The URL without its password."""
        user = "" if self.password is None else f"{self.user}:(hidden)@"
        if self.path:
            return f"unix://{user}{self.path}?db={self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' * self.tls}://{user}{host}:{self.port}/{self.database}"


def parse_redis_url(text: str) -> RedisUrl:
    """
    Read the URL of a Redis server.

    :raises BadRedisUrl: when it is malformed.
    """
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("redis", "rediss", "unix"):
        raise BadRedisUrl(f"must be {SHAPE}")
    if not rest.isprintable() or " " in rest:
        raise BadRedisUrl("must have no blanks and no characters that do not print")
    if "#" in rest:
        raise BadRedisUrl("must have no #; in a password, write it as %23")
    before, at, place = rest.rpartition("@")
    user, password = _credentials(before) if at else ("", None)
    if scheme == "unix":
        path, database = _path(place)
        return RedisUrl(path=path, user=user, password=password, database=database)
    if re.search("[/?]", before):
        raise BadRedisUrl("must have no / and ? before the @; in a password, write %2F and %3F")
    host, port, database = _place(place)
    return RedisUrl(host, port, "", scheme == "rediss", user, password, database)


def _credentials(text: str) -> tuple[str, str]:
    """User and password."""
    user, colon, password = text.partition(":")
    if not colon or not password:
        raise BadRedisUrl("must have USER:PASSWORD or :PASSWORD before the @")
    return _decoded(user, "user"), _decoded(password, "password")


def _decoded(text: str, what: str) -> str:
    """A text without its percent-encoding."""
    if not _ESCAPES.fullmatch(text):
        raise BadRedisUrl(f"has a % in its {what} that begins no escape; write it as %25")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadRedisUrl(f"has a {what} that is not UTF-8") from None


def _place(text: str) -> tuple[str, int, int]:
    """Host, port and database."""
    place, _, database = text.partition("/")
    if "?" in text:
        raise BadRedisUrl("must have no ?; the database follows the host, as in redis://host/1")
    found = re.fullmatch(r"(\[[^\]]*\]|[^:\[]*)(?::([^:]*))?", place)
    if found is None:
        raise BadRedisUrl("must have an IPv6 address in brackets, as in redis://[2001:db8::1]:6379")
    port = found[2] if found[2] is not None else str(_PORT)
    if not (re.fullmatch("[0-9]{1,5}", port, re.ASCII) and 1 <= int(port) <= 65535):
        raise BadRedisUrl("must have a port from 1 to 65535")
    try:
        host = url_host(found[1])
    except BadAddress:  # its message shows the text, which may be a misplaced password
        raise BadRedisUrl("must have a host name or an IP address") from None
    return host.strip("[]"), int(port), _database(database)


def _path(text: str) -> tuple[str, int]:
    """The path of a Unix socket, and the database."""
    path, query, parameter = text.partition("?")
    name, _, database = parameter.partition("=")
    if query and name != "db":
        raise BadRedisUrl("must have no parameter but db, as in unix:///run/redis.sock?db=1")
    path = _decoded(path, "path")
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise BadRedisUrl("must have the absolute path of a socket, as in unix:///run/redis.sock")
    if len(path.encode()) > _MAX_PATH:
        raise BadRedisUrl(f"must have a path of {_MAX_PATH} bytes at most")
    return path, _database(database) if query else 0


def _database(text: str) -> int:
    if text and not _DATABASE.fullmatch(text):
        raise BadRedisUrl("must have a whole number as its database")
    return int(text or 0)
