"""Guesses: limits how many wrong tokens a peer can try."""

from collections import deque
from collections.abc import Callable

_A_SECOND = 10
"""Wrong tokens that one peer can try within a second."""

_MOST_PEERS = 1000
"""The most peers that are told apart; the others count as one."""


class Guesses:
    """
    The wrong tokens of the last second.

    :param seconds: the monotonic time, in seconds.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._peers: dict[bytes, deque[float]] = {}
        """By peer, when its last wrong tokens came; the peer that guessed last comes last."""

    def are_too_many(self, peer: bytes) -> bool:
        """Whether no token of a peer is to be looked at now, be it right or wrong."""
        times = self._peers.get(self._known(peer))
        return times is not None and len(times) == _A_SECOND and self._is_recent(times[0])

    def add(self, peer: bytes) -> None:
        """A peer sent a wrong token."""
        peer = self._known(peer)
        times = self._peers.pop(peer, None)
        self._peers[peer] = times = deque(maxlen=_A_SECOND) if times is None else times
        times.append(self._seconds())

    def _known(self, peer: bytes) -> bytes:
        """The peer, or what all peers count as for which there is no room."""
        while self._peers:
            oldest = next(iter(self._peers))
            if self._is_recent(self._peers[oldest][-1]):
                break
            del self._peers[oldest]
        return peer if peer in self._peers or len(self._peers) < _MOST_PEERS else b"others"

    def _is_recent(self, at: float) -> bool:
        return self._seconds() - at < 1.0
