"""Tests of infernet_router.sources.asked."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from infernet_router.sources.asked import Answer, AskedSource
from infernet_router.sources.joining import BadSource
from tests.doubles import SourceTestCase, addresses


class AskedSourceTests(SourceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[float] = []
        self.answer: Answer | Exception = Answer(addresses("192.0.2.1"), seconds=60.0)

    async def ask(self) -> Answer:
        self.asked.append(self.clock.seconds())
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def start(self, ask: Callable[[], Any] | None = None) -> AskedSource:
        source = AskedSource("it", ask or self.ask, self.sources, self.clock)
        source.startService()
        self.addCleanup(lambda: source.running and source.stopService())
        return source

    def test_asks(self) -> None:
        """The source is asked at once, then whenever its answer expires; stopping ends that."""
        source = self.start()
        self.assert_fleet("192.0.2.1")
        self.answer = Answer(addresses("192.0.2.2"), seconds=5.0, flaw="one is bad")
        self.clock.pump([1.0] * 71)
        self.assertEqual(self.asked, [0, 60, 65, 70])
        self.assert_fleet("192.0.2.2")
        self.assert_logged(
            "info: it: 1 added, 0 removed, 1 in all",
            "warn: it: one is bad",
            "info: it: 1 added, 1 removed, 1 in all",
        )
        self.successResultOf(source.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fails(self) -> None:
        """While a source fails, its nodes stay, one line is logged, and retries back off."""
        self.start()
        self.answer = BadSource("no reason")
        self.clock.pump([1.0] * 250)
        self.assertEqual(self.asked, [0, 60, 61, 63, 67, 75, 91, 123, 183, 243])
        self.assert_fleet("192.0.2.1")
        self.answer = Answer(addresses("192.0.2.1"), seconds=60.0)
        self.clock.pump([1.0] * 120)
        self.assertEqual(self.asked[-2:], [303, 363])
        self.answer = BadSource("no reason")
        self.clock.pump([1.0] * 60)
        self.assertEqual(self.asked[-4:], [423, 424, 426, 430])
        self.assert_logged(
            "info: it: 1 added, 0 removed, 1 in all",
            "warn: cannot update the addresses of it, keeping 1: no reason",
            "info: it works again",
            "warn: cannot update the addresses of it, keeping 1: no reason",
        )

    def test_broken(self) -> None:
        """After an unexpected error, the source is asked again."""
        self.answer = RuntimeError("a bug")
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.answer = Answer(addresses("192.0.2.1"), seconds=60.0)
        self.clock.advance(1)
        self.assert_fleet("192.0.2.1")

    def test_awaited(self) -> None:
        """Until the first answer or failure, the source is awaited."""
        for end in (Answer(addresses("192.0.2.1"), seconds=60.0), BadSource("no reason")):
            asked: Deferred[Answer] = Deferred()

            async def ask(asked: Deferred[Answer] = asked) -> Answer:
                return await asked

            self.start(ask)
            self.assertTrue(self.sources.are_awaited)
            asked.errback(end) if isinstance(end, BadSource) else asked.callback(end)
            self.assertFalse(self.sources.are_awaited)

    def test_stopped(self) -> None:
        """Stopping cancels the request in flight, which is not logged as a failure."""
        asked: Deferred[Answer] = Deferred()

        async def ask() -> Answer:
            return await asked

        source = self.start(ask)
        self.successResultOf(source.stopService())
        self.assertTrue(asked.called)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assert_logged()

    def test_late(self) -> None:
        """An answer to a cancelled request is ignored."""
        asked: Deferred[Answer] = Deferred(
            lambda cancelled: cancelled.callback(Answer(addresses("192.0.2.1"), seconds=60.0))
        )

        async def ask() -> Answer:
            return await asked

        source = self.start(ask)
        self.successResultOf(source.stopService())
        self.assert_fleet()

    def test_restart(self) -> None:
        """The service can be started again after it was stopped."""
        source = self.start()
        self.successResultOf(source.stopService())
        self.clock.advance(100)
        source.startService()
        self.assertEqual(self.asked, [0, 100])
