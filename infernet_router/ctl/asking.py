"""Asking: sends the requests of the command to the router's endpoint for operators."""

import json
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

_PATIENCE = 15.0
"""Seconds that a router has to answer, in addition to those that it was asked to wait."""

_MAX_BODY = 64 * 1024 * 1024
"""The largest response that is read, in bytes."""

_MAX_ERROR = 300
"""The most characters that are shown of an error that no router sent."""


class BadUrl(ValueError):
    """A URL that leads to no router; the message says what it must be."""


class Refused(Exception):
    """The router refused a request; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class CannotReach(Exception):
    """There is no answer from a router; the message says why."""


class _SocketConnection(HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Router:
    """
    A router.

    :param url: where its endpoint for operators is: an http:// or https:// URL, or unix:/path.
    :param token: the token to send, if there is one.
    :raises BadUrl: when the URL is malformed.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token
        self._socket = url.removeprefix("unix:") if url.startswith("unix:") else ""
        try:
            parts = urlsplit("" if self._socket else url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            raise BadUrl(f"{url} is not a URL") from None
        self._is_secure = parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        is_url = self._host and parts.scheme in ("http", "https") and "@" not in parts.netloc
        if not self._socket and not (is_url and url.isprintable() and " " not in url):
            raise BadUrl(f"{url} must be an http:// or https:// URL, or unix:/path")

    def get(self, path: str, query: Mapping[str, Any] | None = None, wait: float = 0.0) -> Any:
        """
        Read something.

        :param path: the path after /admin/v1/.
        :param query: parameters; those that are None are left out, lists are repeated.
        :param wait: the seconds for which the router may keep the answer back.
        :raises Refused: when the router refuses.
        :raises CannotReach: when there is no answer.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        text = f"?{urlencode(given, doseq=True)}" if given else ""
        return self._send("GET", path + text, None, wait)

    def put(self, path: str, content: object) -> Any:
        """Change something; raises as `get` does."""
        return self._send("PUT", path, json.dumps(content).encode(), 0.0)

    def delete(self, path: str) -> None:
        """End something; raises as `get` does."""
        self._send("DELETE", path, None, 0.0)

    def _send(self, method: str, path: str, body: bytes | None, wait: float) -> Any:
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connection(_PATIENCE + wait)
        try:
            connection.request(method, f"{self._prefix}/admin/v1/{path}", body, headers)
            response = connection.getresponse()
            content = response.read(_MAX_BODY)
        except OSError as error:
            why = "it does not answer" if isinstance(error, TimeoutError) else _words(error)
            raise CannotReach(f"cannot reach {self._url}: {why}") from None
        except HTTPException as error:
            raise CannotReach(f"{self._url} does not speak HTTP: {type(error).__name__}") from None
        finally:
            connection.close()
        return self._decoded(response.status, content)

    def _decoded(self, status: int, content: bytes) -> Any:
        """What a response says; raises as `get` does."""
        if status == 204:
            return None
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if status == 200 and isinstance(found, dict):
            return found
        if status >= 400 and isinstance(found, dict) and isinstance(found.get("error"), str):
            raise Refused(status, found["error"])
        raise CannotReach(f"{self._url} is not the endpoint of a router: HTTP {status}")

    def _connection(self, timeout: float) -> HTTPConnection:
        if self._socket:
            return _SocketConnection(self._socket, timeout)
        if self._is_secure:  # ssl takes a third of the time of everything else
            from http.client import HTTPSConnection

            return HTTPSConnection(self._host, self._port, timeout=timeout)
        return HTTPConnection(self._host, self._port, timeout=timeout)


def node_path(address: str) -> str:
    """The path of a node."""
    return f"nodes/{quote(address, safe='')}"


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__)[:_MAX_ERROR]
