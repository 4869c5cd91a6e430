"""Shares a limit of questions a minute fairly among clients."""

from collections import OrderedDict
from collections.abc import Hashable
from math import ceil

_MINUTE = 60.0

_MAX_CLIENTS = 2000
"""The most clients whose questions are remembered, 3 KB each."""


class Exceeded(Exception):
    """
    The allowance does not cover a question now.

    :param asked: how many different questions the client has asked in the last minute, this one
        included.
    :param left: how many more questions all clients together may ask now.
    :param wait: seconds after which the allowance may cover this question.
    """

    def __init__(self, asked: int, left: int, wait: int) -> None:
        super().__init__(f"question {asked} of the client, {left} left")
        self.asked = asked
        self.left = left
        self.wait = wait


class Allowance:
    """
    A limit for the questions of all clients together: a burst of `most`, refilled within a minute.

    A client's nth different question within a minute is allowed while at least n are left, as when
    switches share a buffer (dynamic thresholds, Choudhury and Hahne 1998). So a single client can
    use half of the burst, and however many clients ask a lot, some is left for those who ask
    little. Refused questions count too, so a client that asks at random soon comes last. Repeating
    a question does not count.

    :param most: the size of the burst.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._share = most // 2
        """The highest n. A client that asks more is served only while others leave enough."""
        self._left = float(most)
        self._at = 0.0
        """When that many were left, in seconds."""
        self._asked: OrderedDict[Hashable, dict[int, float]] = OrderedDict()
        """By client, the hashes of its last questions, and when each was asked first; the client
        that asked most recently is last."""

    def take(self, client: Hashable, question: str, now: float) -> None:
        """
        Take a question from the allowance.

        :param client: who asks.
        :param now: the time, in seconds.
        :raises Exceeded: when it is not allowed now.
        """
        self._left = min(self._left + (now - self._at) * self._most / _MINUTE, self._most)
        self._at = now
        asked = self._count(client, hash(question), now)
        if self._left < asked:
            wait = ceil((asked - self._left) * _MINUTE / self._most)
            raise Exceeded(asked, int(self._left), wait)
        self._left -= 1

    def _count(self, client: Hashable, question: int, now: float) -> int:
        """How many different questions the client has asked in the last minute, up to its share."""
        asked = self._asked.setdefault(client, {})
        self._asked.move_to_end(client)
        if len(self._asked) > _MAX_CLIENTS:
            self._asked.popitem(last=False)
        for old, at in tuple(asked.items()):
            if now - at > _MINUTE:
                del asked[old]
        if question not in asked:
            if len(asked) == self._share:
                del asked[next(iter(asked))]
            asked[question] = now
        return len(asked)
