"""Tests of infernet_router.api.answers."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request
from werkzeug.exceptions import BadHost, MethodNotAllowed, NotFound

from infernet_router.api.answers import (
    answer,
    answer_chunks,
    answer_encoded,
    answer_error,
    answer_failure,
    list_chunks,
)
from infernet_router.api.query import BadRequest
from infernet_router.fleet import NoNode, Reason, finish
from infernet_router.nodes.model_support import CannotSurvey
from infernet_router.serving.errors import RETRY_SOON, HTTPError
from tests.doubles import ask


class Answering(Resource):
    """Answers every request with one function."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        super().__init__()
        self._answer = answer

    def render(self, request: Request) -> Any:
        return self._answer(request)


class AnswerTests(SynchronousTestCase):
    def assert_answered(
        self, answer: Callable[[Request], Any], status: int, content: object, **headers: str
    ) -> None:
        """GET has this status, content, a newline and headers; HEAD has the same, and no body."""
        root = Answering(answer)
        whole, empty = (ask(root, "/a%0a", method=method) for method in ("GET", "HEAD"))
        self.assertEqual((whole.status, json.loads(whole.body)), (status, content))
        self.assertTrue(whole.body.endswith(b"\n"), whole.body)
        self.assertEqual((empty.status, empty.body), (status, b""))
        headers["content-type"] = "application/json"
        headers["cache-control"] = "no-store"
        headers["content-length"] = str(len(whole.body))
        for name, value in headers.items():
            for each in (whole, empty):
                self.assertEqual(each.headers.get_all(name), [value], name)

    def test_list(self) -> None:
        """A list is encoded item by item, and is valid JSON whatever its length."""
        for items in ([], ["a"], ["a", {"b": 1}]):
            chunks = list(list_chunks(b"name", items))
            self.assertEqual(json.loads(b"".join(chunks)), {"name": items})
            self.assertEqual(len(chunks), len(items) + 1)

    def test_content(self) -> None:
        """Content is answered as JSON."""
        self.assert_answered(partial(answer, content=["ä"]), 200, ["ä"])
        self.assert_answered(partial(answer_encoded, content=b"[1]"), 200, [1])

    def test_short_chunks(self) -> None:
        """A body in chunks that is short is answered whole, with its length."""
        whole = partial(answer_chunks, chunks=[b"[1", b"", b",2]"], run=finish)
        self.assert_answered(whole, 200, [1, 2])

    def test_error(self) -> None:
        """An error has its status, its message and its headers."""
        error = HTTPError(503, "later", RETRY_SOON)
        fail = partial(answer_error, error=error)
        self.assert_answered(fail, 503, {"error": "later"}, **{"retry-after": "1"})

    def test_failures(self) -> None:
        """Each exception that is expected has its status and headers."""
        path = r"'/a%0a'"
        unavailable = {"retry-after": "1"}
        failures: tuple[tuple[Exception, int, str, dict[str, str]], ...] = (
            (HTTPError(501, "what"), 501, "what", {}),
            (BadRequest("n is bad"), 400, "n is bad", {}),
            (NoNode("no node", Reason.NONE_UP), 503, "no node", unavailable),
            (CannotSurvey("too many"), 503, "too many", unavailable),
            (BadHost(), 400, "Host is not a host name", {}),
            (NotFound(), 404, f"no such path: {path}", {}),
            (
                MethodNotAllowed(["HEAD", "GET"]),
                405,
                f"{path}: method not allowed",
                {"allow": "GET, HEAD"},
            ),
        )
        for raised, status, message, headers in failures:
            fail = partial(answer_failure, failure=Failure(raised))
            self.assert_answered(fail, status, {"error": message}, **headers)

    def test_bug(self) -> None:
        """Any other exception is logged, and its 500 does not say what it was."""
        fail = partial(answer_failure, failure=Failure(ZeroDivisionError("secret")))
        self.assert_answered(fail, 500, {"error": "internal error"})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
