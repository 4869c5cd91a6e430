"""A client's request: takes fewer steps from its head to its resource than Twisted's own."""

from functools import cached_property
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.server import Request


class LeanRequest(Request):
    """
    A request for the resource of its site, which parses the query itself.

    :ivar content: the body; None without one.
    """

    site: Any
    channel: Any

    # Request parses cookies, which no resource here reads.
    def parseCookies(self) -> None:
        """Do nothing."""

    # Request makes a file even when there is no body.
    def gotLength(self, length: int | None) -> None:
        """Make a file for the body, if there is one."""
        if length != 0:
            super().gotLength(length)

    # Request parses the query, and forms.
    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Split the path off its query, and render the resource."""
        self.method, self.uri, self.clientproto = command, path, version
        self.path, self.args = path.partition(b"?")[0], {}
        self.process()

    # Request sets headers that the channel writes anyway, splits the path, and looks for children
    # and encoders of the resource.
    def process(self) -> None:
        """Render the resource."""
        self.site = self.channel.site
        resource = self.site.resource
        if not resource.isLeaf or self.path == b"*":
            super().process()
            return
        self.prepath: list[bytes] = []
        try:
            self.render(resource)
        except BaseException:
            self.processingFailed(Failure())

    # Request looks for a content type and an encoder; a resource here sets its content type itself.
    def write(self, data: bytes) -> None:
        """Write a part of the response."""
        HTTPRequest.write(self, data)

    @cached_property
    def postpath(self) -> list[bytes]:  # type: ignore[override]
        """The segments of the path."""
        return [unquote_to_bytes(segment) for segment in self.path[1:].split(b"/")]


class BodyRequest(LeanRequest):
    """A request whose body the resource reads, as `content`."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Take the body, which the channel has received before the head was parsed."""
        self.content, self.channel.body = BytesIO(self.channel.body or b""), None
        super().requestReceived(command, path, version)
