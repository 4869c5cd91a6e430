"""Sources that are asked over the network, again whenever their answer expires."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from infernet_router.addresses import NodeAddress
from infernet_router.sources.joining import BadSource, Sources

_FIRST_RETRY = 1.0
"""Seconds before a source that failed is asked again; doubled with each further failure."""

_LONGEST_RETRY = 60.0

log = Logger()


@frozen
class Answer:
    """The answer of a source."""

    addresses: tuple[NodeAddress, ...]
    seconds: float
    """How long the answer is valid; then the source is asked again."""
    flaw: str = ""
    """What was wrong with the entries that were left out."""


class AskedSource(Service):
    """
    Asks a source at once, and again whenever its answer expires.

    After a failure, it retries after 1, 2, 4, … seconds, at least once a minute.

    :param source: its name in the log.
    :param ask: returns the source's answer, or raises BadSource.
    """

    def __init__(
        self,
        source: Hashable,
        ask: Callable[[], Awaitable[Answer]],
        sources: Sources,
        clock: IReactorTime,
    ) -> None:
        self._source = source
        self._ask = ask
        self._sources = sources
        self._clock = clock
        self._asking: Deferred[Any] = succeed(None)

    def startService(self) -> None:
        super().startService()
        self._asking = Deferred.fromCoroutine(self._keep_asking())
        self._asking.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def stopService(self) -> Deferred[Any]:
        """Stop asking; fires once a request in flight is cancelled."""
        super().stopService()
        self._asking.cancel()
        return self._asking

    async def _keep_asking(self) -> None:
        retry = _FIRST_RETRY
        while True:
            try:
                answer = await self._ask()
                if not self.running:
                    break
                await self._sources.named(self._source, answer.addresses, answer.flaw)
            except Exception as error:
                if not self.running:
                    break
                if isinstance(error, BadSource):
                    self._sources.failed(self._source, str(error))
                else:
                    log.failure(
                        "asking {source} failed", event="internal.error", source=self._source
                    )
                wait, retry = retry, min(2 * retry, _LONGEST_RETRY)
            else:
                wait, retry = answer.seconds, _FIRST_RETRY
            await deferLater(self._clock, wait)
