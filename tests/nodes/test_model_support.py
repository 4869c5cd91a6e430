"""Tests of infernet_router.nodes.model_support."""

from random import Random
from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import Fleet
from infernet_router.nodes import model_support as models
from infernet_router.nodes.asking import NoAnswer
from infernet_router.nodes.model_support import CannotSurvey, Survey, Surveyor
from infernet_router.nodes.pace import Paces
from infernet_router.nodes.rate_fields import NO_LIMIT
from tests.doubles import report

A, B, C = (parse_address(f"192.0.2.{number}:4000") for number in (1, 2, 3))
YES, NO = b'{"llm":{"supported":true}}', b'{"llm":{"supported":false}}'


class Nodes(Resource):
    """Nodes by host name, which say immediately or later whether they support a model."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, bytes | int] = {}
        """By host, its answer: a body or a status; a node without one keeps the request waiting."""
        self.asked: list[str] = []
        """The model in each request, in order."""
        self.waiting: dict[str, Request] = {}

    def render(self, request: Request) -> bytes | int:
        host = request.getRequestHostname().decode()
        assert request.path == b"/resources", request.path
        ((model,),) = request.args.values()
        self.asked.append(model.decode())
        answer = self.answers.get(host, NOT_DONE_YET)
        if isinstance(answer, bytes):
            return answer
        if answer != NOT_DONE_YET:
            request.setResponseCode(answer)
            return b""
        self.waiting[host] = request
        request.notifyFinish().addErrback(lambda _: self.waiting.pop(host, None))
        return NOT_DONE_YET

    def answer(self, address: NodeAddress, body: bytes) -> None:
        """Answer the request that waits at this node."""
        request = self.waiting.pop(str(address).partition(":")[0])
        request.write(body)
        request.finish()


class SurveyTests(SynchronousTestCase):
    def among(self, *containers: str, **answers: bytes) -> tuple[list[NodeAddress], str]:
        """Which of three nodes support a model in these containers, and the reason if none does."""
        survey = Survey("hf/7b:q4\n", 0.0, [A, B, C])
        for name, body in answers.items():
            survey.add({"a": A, "b": B, "c": C}[name], body)
        among = survey.among(containers)
        includes = among.includes or (lambda _: True)
        return list(filter(includes, among.addresses)), among.otherwise

    def test_among(self) -> None:
        """A node supports the model if it says so for one of the requested containers."""
        both = b'{"llm":{"supported":true},"tiny":{"supported":true}}'
        answers = {"a": both, "b": YES, "c": NO}
        self.assertEqual(self.among("llm", **answers)[0], [A, B])
        self.assertEqual(self.among("tiny", **answers)[0], [A])
        self.assertEqual(self.among("llm", "tiny", "prover", **answers)[0], [A, B])
        self.assertEqual(self.among("prover", **answers)[0], [])
        other = b'{"prover":{"supported":true}}'
        self.assertEqual(self.among("llm", "tiny", a=both, b=other)[0], [A])

    def test_otherwise(self) -> None:
        """When no node does, the reason names the model and counts the nodes without an answer."""
        reason = r"no up node is known to support the model 'hf/7b:q4\n' in 'llm' or 'x'"
        self.assertEqual(self.among("llm", "x", a=NO, b=NO, c=NO)[1], reason)
        self.assertEqual(self.among("llm", "x", a=NO)[1], f"{reason}; 2 of 3 did not say")

    def test_answers(self) -> None:
        """Answers are passed on without unknown keys, and with long errors cut."""
        survey = Survey("m", 0.0, [A, B, C])
        survey.add(A, b'{"x": {"supported": false, "error": "%s", "more": [1]}}' % (b"e" * 999))
        survey.add(B, b"{ }")
        self.assertEqual(
            {address: bytes(said) for address, said in survey.answers.items()},
            {A: b'{"x":{"supported":false,"error":"%s"}}' % (b"e" * 500), B: b"{}"},
        )

    def test_bad(self) -> None:
        """A malformed answer is refused."""
        survey = Survey("m", 0.0, [A, B, C])
        for body in (
            b"",
            b"<html>",
            b"[]",
            b'{"llm":true}',
            b'{"llm":{}}',
            b'{"llm":{"supported":"true"}}',
            b'{"llm":{"supported":1}}',
            b'{"llm":{"supported":true,"error":1}}',
            b'{"\xff":{"supported":true}}',
            b'{"llm":{"supported":true,"more":%s' % (b"[" * 10_000),
            b'{"\\ud800":{"supported":true}}',
            b'{"llm":{"supported":true,"error":"\\udc00"}}',
        ):
            self.assertRaises(NoAnswer, survey.add, A, body)
        self.assertEqual((survey.answers, list(survey.among(["llm"]).addresses)), ({}, []))


class SurveyorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes = Nodes()
        self.http = cast(Any, StubTreq(self.nodes))
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.come_up(A, B)
        self.paces = Paces()
        self.surveyor = Surveyor(self.fleet, self.http, self.clock, paces=self.paces)
        self.surveyor.startService()
        self.addCleanup(lambda: self.surveyor.running and self.surveyor.stopService())

    def come_up(self, *addresses: NodeAddress) -> None:
        """Replace the nodes by these, all of them up."""
        self.fleet.replace(addresses)
        for address in addresses:
            self.fleet.observed(address, report("llm"))

    def survey(self, model: str = "m", client: str = "") -> Deferred[Survey]:
        return self.surveyor.survey(model, client)

    def answer(self, address: NodeAddress, body: bytes = YES) -> None:
        self.nodes.answer(address, body)
        self.http.flush()

    def supporting(self, survey: Deferred[Survey]) -> list[NodeAddress]:
        """The nodes that support the model according to a settled survey."""
        return list(self.successResultOf(survey).among(["llm"]).addresses)

    def test_all_answer(self) -> None:
        """A survey is settled when every up node has answered."""
        self.fleet.replace([A, B, C])
        survey = self.survey()
        self.answer(B)
        self.assertNoResult(survey)
        self.answer(A, NO)
        self.assertEqual(self.supporting(survey), [B])
        self.assertEqual(len(self.nodes.asked), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_limited(self) -> None:
        """A node that limits the rate of requests is left out until it allows one."""
        for address in (A, B):
            self.paces.add(address)
        self.nodes.answers = {"192.0.2.1": 429, "192.0.2.2": YES}
        self.assertEqual(self.supporting(self.survey("a")), [B])
        self.assertEqual(self.supporting(self.survey("b")), [B])
        self.assertEqual(sorted(self.nodes.asked), ["a", "a", "b"])
        self.paces.refused(B, NO_LIMIT, 0.0)
        self.assertEqual(self.supporting(self.survey("c")), [])
        self.clock.advance(2)
        self.nodes.answers["192.0.2.1"] = YES
        self.assertEqual(self.supporting(self.survey("d")), [A, B])

    def test_model(self) -> None:
        """The model id is sent unchanged, whatever characters it has."""
        self.nodes.answers = {"192.0.2.1": YES, "192.0.2.2": YES}
        for model in ("hf/org/name:q4_0.gguf", "a b+c&d=e;f%2F?#", "ä\n\0", "x" * 500):
            self.successResultOf(self.survey(model))
            self.assertEqual(self.nodes.asked[-2:], [model] * 2)

    def test_patience(self) -> None:
        """After 2 seconds, a survey is settled with the answers so far; later answers are added."""
        survey = self.survey()
        self.answer(A)
        self.clock.advance(1.9)
        self.assertNoResult(survey)
        self.clock.advance(0.2)
        self.assertEqual(self.supporting(survey), [A])
        self.answer(B)
        self.assertEqual(self.supporting(self.survey()), [A, B])
        self.assertEqual(len(self.nodes.asked), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_time_out(self) -> None:
        """After ten seconds without an answer, the connection to a node is closed."""
        self.answer_none()
        self.clock.advance(8.1)
        self.http.flush()
        self.assertEqual((self.nodes.waiting, self.clock.getDelayedCalls()), ({}, []))

    def answer_none(self) -> None:
        """Settle a survey without any answers."""
        survey = self.survey()
        self.clock.advance(2)
        self.assertEqual(self.supporting(survey), [])

    def test_no_answer(self) -> None:
        """A survey without any answers is used for 15 seconds."""
        self.nodes.answers = {"192.0.2.1": 500, "192.0.2.2": 500}
        self.assertEqual(self.supporting(self.survey()), [])
        self.nodes.answers = {"192.0.2.1": YES, "192.0.2.2": 500}
        self.clock.advance(15)
        self.assertEqual(self.supporting(self.survey()), [])
        self.clock.advance(0.1)
        self.assertEqual(self.supporting(self.survey()), [A])
        self.assertEqual(len(self.nodes.asked), 4)

    def test_late_answer(self) -> None:
        """It is used for as long as any other once a node has answered after all."""
        self.answer_none()
        self.answer(A)
        self.assertEqual(self.supporting(self.survey()), [A])
        self.clock.advance(50)
        self.assertEqual(self.supporting(self.survey()), [A])
        self.assertEqual(len(self.nodes.asked), 2)

    def test_failing(self) -> None:
        """A model about which no node answers leaves the allowance to others."""
        self.nodes.answers = {"192.0.2.1": 500, "192.0.2.2": 500}
        for number in range(1000):
            self.assertEqual(self.supporting(self.survey(client=str(number))), [])
            self.clock.advance(0.1)
        self.assertEqual(len(self.nodes.asked), 2 * 7)

    def test_long_answer(self) -> None:
        """An answer of more than 16 KiB is refused."""
        longest = YES + b" " * (16 * 1024 - len(YES))
        self.nodes.answers = {"192.0.2.1": longest + b" ", "192.0.2.2": longest}
        self.assertEqual(self.supporting(self.survey()), [B])

    def test_nobody_up(self) -> None:
        """Without an up node, a survey is settled immediately, and neither counted nor kept."""
        self.fleet.replace([])
        for _ in range(1000):
            self.assertEqual(self.successResultOf(self.survey()).answers, {})
        self.come_up(A)
        survey = self.survey()
        self.answer(A)
        self.assertEqual(self.supporting(survey), [A])

    def test_in_flight(self) -> None:
        """Clients that need the same model share one survey."""
        surveys = [self.survey()]
        self.clock.advance(1.5)
        surveys += [self.survey(), self.survey("other")]
        self.assertEqual(self.nodes.asked, ["m"] * 2 + ["other"] * 2)
        self.clock.advance(0.5)
        self.successResultOf(surveys[0])
        self.successResultOf(surveys[1])
        self.assertNoResult(surveys[2])

    def test_cancelled(self) -> None:
        """When one of these clients leaves, the others still get their survey."""
        gone, other = self.survey(), self.survey()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.answer(A)
        self.answer(B)
        self.assertEqual(self.supporting(other), [A, B])

    def test_remembered(self) -> None:
        """A survey is used for a minute, and then until a new one is settled."""
        self.nodes.answers = {"192.0.2.1": YES, "192.0.2.2": NO}
        self.survey()
        self.clock.advance(60)
        self.assertEqual(self.supporting(self.survey()), [A])
        self.assertEqual(len(self.nodes.asked), 2)
        self.nodes.answers = {"192.0.2.1": NO}
        self.clock.advance(1)
        for _ in range(3):
            self.assertEqual(self.supporting(self.survey()), [A])
        self.assertEqual(len(self.nodes.asked), 4)
        self.answer(B)
        self.assertEqual(self.supporting(self.survey()), [B])

    def test_forgotten(self) -> None:
        """After two minutes, clients wait for a new survey."""
        self.nodes.answers = {"192.0.2.1": YES, "192.0.2.2": YES}
        self.survey()
        self.nodes.answers = {}
        self.clock.advance(120.1)
        self.assertNoResult(self.survey())

    def test_bounded_memory(self) -> None:
        """When surveys take too much memory, the least recently used are dropped."""
        self.patch(models, "_MAX_KEPT", 9000)
        self.nodes.answers = {"192.0.2.1": YES, "192.0.2.2": YES}
        for model in ("1", "2", "3", "1", "4"):
            self.survey(model)
        self.nodes.asked.clear()
        for model in ("4", "1", "3"):
            self.survey(model)
        self.assertEqual(self.nodes.asked, [])
        self.survey("2")
        self.assertEqual(len(self.nodes.asked), 2)
        self.patch(models, "_MAX_KEPT", 0)
        self.survey("5")
        self.nodes.asked.clear()
        self.survey("5")
        self.assertEqual(self.nodes.asked, [])

    def test_at_once(self) -> None:
        """At most 64 nodes are asked at the same time, in all surveys together."""
        nodes = [parse_address(f"192.0.2.{number}") for number in range(100)]
        self.come_up(*nodes)
        first = self.survey()
        self.assertEqual(self.nodes.asked, ["m"] * 64)
        self.survey("other")
        self.assertEqual(len(self.nodes.asked), 64)
        for node in nodes[:64]:
            self.answer(node)
        self.assertEqual(len(self.nodes.asked), 128)
        self.nodes.answers = {str(node): YES for node in nodes}
        for host in tuple(self.nodes.waiting):
            self.answer(parse_address(host))
        self.assertEqual(len(self.nodes.asked), 200)
        self.assertEqual(set(self.supporting(first)), set(nodes))

    def test_many_nodes(self) -> None:
        """A survey asks nodes for no longer than a minute."""
        nodes = [parse_address(f"10.0.{number // 200}.{number % 200}") for number in range(1000)]
        self.come_up(*nodes)
        self.survey()
        self.clock.pump([1] * 59)
        self.assertEqual(len(self.nodes.asked), 6 * 64)
        self.clock.pump([1] * 20)
        self.assertEqual(len(self.nodes.asked), 7 * 64)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def assert_refused(self, model: str, client: str, is_share: bool, wait: int) -> str:
        with self.assertRaises(CannotSurvey) as caught:
            self.survey(model, client)
        self.assertEqual((caught.exception.is_share, caught.exception.wait), (is_share, wait))
        return str(caught.exception)

    def test_share(self) -> None:
        """A client that asks about too many models leaves some to others, and what is known."""
        self.nodes.answers = {"192.0.2.1": YES, "192.0.2.2": YES}
        for number in range(26):
            self.survey(str(number), "greedy")
        self.assertEqual(
            self.assert_refused("26", "greedy", True, 2),
            "this client asks about too many models: 25 new ones within a minute, while nodes can"
            " be asked about 24 more",
        )
        self.assertEqual(self.supporting(self.survey("0", "greedy")), [A, B])
        self.assertEqual(self.supporting(self.survey("26", "other")), [A, B])
        self.assertEqual(self.supporting(self.survey("26", "greedy")), [A, B])

    def test_all(self) -> None:
        """All clients together may ask about 50 models at once; refreshing is given up first."""
        self.nodes.answers = {"192.0.2.1": YES, "192.0.2.2": YES}
        self.survey("0", "early")
        self.clock.advance(61)
        for number in range(1, 51):
            self.survey(str(number), str(number))
        self.assertEqual(
            self.assert_refused("51", "51", False, 2),
            "nodes are asked about too many models: all clients together may name 50 new ones a"
            " minute",
        )
        asked = len(self.nodes.asked)
        self.assertEqual(self.supporting(self.survey("0", "52")), [A, B])
        self.assertEqual(len(self.nodes.asked), asked)
        self.clock.advance(1.25)
        self.assertEqual(self.supporting(self.survey("51", "51")), [A, B])

    def test_stop(self) -> None:
        """Stopping settles the surveys with the answers so far, and no more nodes are asked."""
        self.come_up(*(parse_address(f"192.0.2.{number}") for number in range(70)))
        waiting, other = self.survey(), self.survey("other")
        self.answer(parse_address("192.0.2.7"))
        asked = len(self.nodes.asked)
        self.successResultOf(self.surveyor.stopService())
        self.http.flush()
        self.assertEqual(len(self.successResultOf(waiting).answers), 1)
        self.assertEqual(len(self.successResultOf(other).answers), 0)
        self.assertEqual((len(self.nodes.asked), self.nodes.waiting), (asked, {}))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        with self.assertRaises(CannotSurvey) as caught:
            self.survey("new")
        self.assertEqual(str(caught.exception), "the router is shutting down")

    def test_restart(self) -> None:
        """A surveyor that was stopped can be started again."""
        self.successResultOf(self.surveyor.stopService())
        self.surveyor.startService()
        self.nodes.answers = {"192.0.2.1": YES, "192.0.2.2": YES}
        self.assertEqual(self.supporting(self.survey()), [A, B])

    def test_bug(self) -> None:
        """A bug is logged, and the survey continues without that answer."""
        self.patch(models, "_decoder", None)
        self.nodes.answers = {"192.0.2.1": YES, "192.0.2.2": YES}
        self.assertEqual(self.supporting(self.survey()), [])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 2)
