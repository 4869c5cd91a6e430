"""What programs read, on either endpoint: metrics and probes."""

from typing import Any

from attrs import frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from infernet_router.admin.access import Access
from infernet_router.admin.census import Census, Count
from infernet_router.admin.metrics import Exposition
from infernet_router.admin.secured import Secured
from infernet_router.api.answers import answer_failure
from infernet_router.api.probes import Readiness, answer_alive, answer_ready


@frozen
class Scraped:
    """What programs read: metrics and probes."""

    exposition: Exposition
    census: Census
    readiness: Readiness

    def metrics(self, request: Request) -> Deferred[bytes]:
        """Answer with the metrics, in the format that the request accepts."""
        accept = request.getHeader(b"accept") or b""

        def made(count: Count) -> bytes:
            body, content_type = self.exposition.make(count, accept.decode("latin-1"))
            request.setHeader(b"Content-Type", content_type.encode("ascii"))
            request.setHeader(b"Content-Length", b"%d" % len(body))
            return b"" if request.method == b"HEAD" else body

        return self.census.count().addCallback(made)


def app_for_programs() -> Klein:
    """
    The routes of a MetricsRoot: each is answered with its `scraped`, and every error is JSON.

    An endpoint with more routes adds them to an app of its own.
    """
    app = Klein()
    app.url_map.merge_slashes = False

    @app.route("/metrics", methods=["GET"])
    def metrics(root: "MetricsRoot", request: Request) -> Deferred[bytes]:
        return root.scraped.metrics(request)

    @app.route("/livez", methods=["GET"])
    def livez(root: "MetricsRoot", request: Request) -> bytes:
        return answer_alive(request)

    @app.route("/readyz", methods=["GET"])
    def readyz(root: "MetricsRoot", request: Request) -> bytes:
        return answer_ready(request, root.scraped.readiness)

    @app.handle_errors(Exception)
    def failed(self: Any, request: IRequest, failure: Failure) -> bytes:
        return answer_failure(request, failure)

    return app


class MetricsRoot(Secured):
    """The endpoint for programs only: metrics and probes."""

    app = app_for_programs()

    def __init__(self, access: Access, scraped: Scraped) -> None:
        super().__init__(access)
        self.scraped = scraped
