"""The audit: who changed what, and who tried to and was refused."""

import json
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from attrs import define
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from infernet_router.admin.shown import rfc3339
from infernet_router.admin.state import CannotKeep, State
from infernet_router.quoting import quoted

MAX_SHOWN = 1000
"""The most entries that are kept in memory."""

_MINUTE = 60.0
_MOST_REFUSALS = 10
"""Refusals a minute of one peer that have an entry each; more are counted."""

_MOST_PEERS = 1000
"""The most peers that are told apart; the others count as one."""

log = Logger()


@define
class _Refusals:
    """The refusals of one peer within a minute."""

    ending: IDelayedCall
    """The end of that minute."""
    first: int = 0
    """Those that had an entry."""
    more: int = 0
    """Those that were counted."""


class Audit:
    """
    Keeps an entry of each change and each refusal: in memory, and in the state directory.

    :param state: the state directory, if there is one.
    :param now: the time of day, in seconds since the epoch.
    """

    def __init__(self, state: State | None, clock: IReactorTime, now: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._now = now
        self._entries = deque(_parsed(state.lines if state else ()), MAX_SHOWN)
        self._peers: dict[str, _Refusals] = {}
        self._is_failing = False

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """The last entries, newest first."""
        return [entry for entry, _ in zip(reversed(self._entries), range(limit), strict=False)]

    def add(
        self,
        verb: str,
        result: str,
        *,
        name: str = "",
        peer: str = "",
        address: str = "",
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
        reason: str = "",
    ) -> Deferred[None]:
        """
        Add an entry. The Deferred fires when it is on disk, or cannot be written.

        :param verb: what was done or tried: put, delete or expire.
        :param result: done, or why it was refused.
        :param reason: what the operator gave as the reason.
        """
        entry = {
            "time": rfc3339(self._now()),
            "name": name,
            "peer": peer,
            "verb": verb,
            "address": address,
            "before": before,
            "after": after,
            "reason": reason,
            "result": result,
        }
        self._entries.append(entry)
        if self._state is None:
            return succeed(None)
        return ensureDeferred(self._append(self._state, msgspec.json.encode(entry)))

    def refuse(
        self, peer: str, verb: str, address: str, result: str, name: str = "", reason: str = ""
    ) -> None:
        """Add an entry of a refusal, or only count it if this peer has had too many."""
        if peer not in self._peers and len(self._peers) >= _MOST_PEERS:
            peer = "others"
        refusals = self._peers.get(peer)
        if refusals is None:
            ending = self._clock.callLater(_MINUTE, self._minute_over, peer)
            refusals = self._peers[peer] = _Refusals(ending)
        if refusals.first >= _MOST_REFUSALS:
            refusals.more += 1
            return
        refusals.first += 1
        log.warn(
            "refused {name} at {peer}: {verb} {address}: {result}",
            event="override.refused",
            name=quoted(name) if name else "somebody",
            peer=peer,
            verb=verb.upper(),
            address=quoted(address),
            result=result,
        )
        self.add(verb, result, name=name, peer=peer, address=address, reason=reason)

    def stop(self) -> Deferred[None]:
        """
        Say how many refusals were only counted, without waiting for the end of their minute.

        The Deferred fires when that is on disk, or cannot be written.
        """
        adding = []
        for peer, refusals in list(self._peers.items()):
            refusals.ending.cancel()
            adding.append(self._minute_over(peer))
        return gatherResults(adding).addCallback(lambda _: None)

    def _minute_over(self, peer: str) -> Deferred[None]:
        """Say how many refusals of a peer were only counted."""
        more = self._peers.pop(peer).more
        if more:
            log.warn(
                "refused {count} more requests of {peer} within a minute",
                event="override.refused",
                count=more,
                peer=peer,
            )
            return self.add("other", f"{more} more were refused within a minute", peer=peer)
        return succeed(None)

    async def _append(self, state: State, line: bytes) -> None:
        try:
            await state.append(line)
        except CannotKeep as error:
            if not self._is_failing:
                self._is_failing = True
                log.warn(
                    "the audit is in the log only: {reason}",
                    event="audit.failed",
                    reason=str(error),
                )
        else:
            if self._is_failing:
                self._is_failing = False
                log.info("the audit can be written again", event="audit.works")


def _parsed(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """The entries in some lines; a line that was cut off is left out."""
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries
