"""Tests of infernet_router.admin.secured."""

import json

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from infernet_router.admin.access import Access, Role
from infernet_router.admin.secured import Secured
from infernet_router.api.answers import answer_failure
from infernet_router.serving.errors import HTTPError
from tests.admin.case import AdminTestCase

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)


class Example(Secured):
    app = Klein()

    @app.route("/text")
    def text(self, _: Request) -> bytes:
        return b"text"

    @app.route("/node/<address>", methods=["GET"])
    def node(self, _: Request, address: str) -> bytes:
        return address.encode()

    @app.route("/fails")
    def fails(self, _: Request) -> bytes:
        raise HTTPError(409, "it cannot be done")

    @app.route("/broken")
    def broken(self, _: Request) -> bytes:
        raise ZeroDivisionError

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> bytes:
        return answer_failure(request, failure)


class SecuredTests(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.example = Example(Access(lambda: self.grants, ("r.invalid",)))

    def test_headers(self) -> None:
        """Each response, errors included, tells browsers what they may do with it."""
        for path, status in (("/text", 200), ("/fails", 409), ("/nothing", 404)):
            answer = self.ask(path, root=self.example)
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.headers["content-security-policy"], POLICY)
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_errors(self) -> None:
        """Every error is JSON; a bug is logged, and says nothing of itself to the client."""
        self.assert_error("/fails", 409, "it cannot be done", root=self.example)
        self.assertEqual(self.ask("/nothing", root=self.example).status, 404)
        answer = self.ask("/broken", root=self.example)
        self.assertEqual((answer.status, list(json.loads(answer.body))), (500, ["error"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_access(self) -> None:
        """A request with a wrong token reaches no route."""
        self.give("alice", Role.VIEWER, "secret")
        headers = {"Authorization": "Bearer wrong"}
        self.assertEqual(self.ask("/broken", root=self.example, headers=headers).status, 401)

    def test_encoded(self) -> None:
        """A part of the path stays encoded, as there may be slashes in it."""
        for path in ("/node/https%3A%2F%2Fa%2Fb", "//node/https%3A%2F%2Fa%2Fb"):
            self.assertIn(b"https%3A%2F%2Fa%2Fb", self.ask(path, root=self.example).body)

    def test_without_host(self) -> None:
        """A request of HTTP/1.0 needs no Host."""
        self.assertEqual(self.ask("/text", root=self.example, host=None).status, 200)

    def test_methods(self) -> None:
        """A method is known in capitals only."""
        root = self.metrics_root()
        self.assertIn(self.ask("/livez", method="get").status, (403, 501))
        self.assertEqual(self.ask("/livez", method="get", root=root).status, 501)
        self.assertEqual(self.ask("/livez", method="PUT", root=root).status, 405)
