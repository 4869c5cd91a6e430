"""The pace: how often each node allows requests, by its own rate-limit header fields."""

from math import inf

from infernet_router.addresses import NodeAddress
from infernet_router.nodes.rate_fields import RateLimit

_LONGEST = 300.0
"""The longest time for which a node that answers 429 is not asked, in seconds. A node's limit is
for a minute; one that says hours is mistaken."""

_FIRST = 2.0
"""The shortest pause after a 429, in seconds; doubled with each further one."""

_RECOVERY = 0.9
"""What each answer makes of the pause that a 429 asked for, as a share of the last."""


class Pace:
    """How often one node may be asked."""

    __slots__ = ("others_until", "pause", "until")

    def __init__(self) -> None:
        self.pause = 0.0
        """The least seconds between two polls; 0 without a limit."""
        self.until = -inf
        """When it may be polled again, after it answered a poll with 429."""
        self.others_until = -inf
        """When it may be asked other questions again, after it answered one of them with 429."""

    def answered(self, limit: RateLimit, usual: float, most: float) -> None:
        """
        Set the pause after an answer: to what the node says, or to a bit less than the last.

        :param usual: the seconds between polls of a node in use; a shorter pause changes nothing.
        :param most: the longest pause.
        """
        pause = self.pause * _RECOVERY if limit.pace is None else min(limit.pace, most)
        self.pause = pause if pause > usual else 0.0

    def refused(self, limit: RateLimit, now: float, most: float, good_until: float = inf) -> None:
        """
        Set the pause after a poll that was answered with 429, and when the next may be sent.

        :param most: the longest pause that the router adds by itself.
        :param good_until: when the last report of the node becomes too old; it is polled once
            before that, unless the node itself wants to be left alone for longer.
        """
        wanted = _wanted(limit)
        self.pause = min(max(wanted, 2 * self.pause), most)
        own = self.pause if good_until <= now else min(self.pause, 0.9 * (good_until - now))
        self.until = now + max(own, min(wanted, _LONGEST))


class Paces:
    """
    The pace of each node, which all who ask nodes share.

    The poller decides which nodes there are. Nodes have a limit for each path, so that one which
    refuses another question is still polled; while it refuses polls, it is asked nothing.
    """

    def __init__(self) -> None:
        self._paces: dict[NodeAddress, Pace] = {}

    def add(self, address: NodeAddress) -> Pace:
        """The pace of a new node."""
        pace = self._paces[address] = Pace()
        return pace

    def drop(self, address: NodeAddress) -> None:
        """Forget a node."""
        self._paces.pop(address, None)

    def refused(self, address: NodeAddress, limit: RateLimit, now: float) -> None:
        """Record that a node answered another question than a poll with 429."""
        if (pace := self._paces.get(address)) is not None:
            pace.others_until = now + min(_wanted(limit), _LONGEST)

    def others_until(self, address: NodeAddress) -> float:
        """When a node may be asked another question than a poll; in the past for most."""
        pace = self._paces.get(address)
        return -inf if pace is None else max(pace.until, pace.others_until)


def _wanted(limit: RateLimit) -> float:
    """The seconds for which a node that answered 429 should not be asked."""
    said = limit.pace if limit.retry_after is None else limit.retry_after
    return max(said or 0.0, _FIRST)
