"""Members: which replicas are heard, this one included, and how late what they say is."""

from math import inf

from infernet_router.replicas.batches import Head

SILENT_AFTER = 2.0
"""Seconds after which a member that is not heard is gone."""

SETTLED = 0.6
"""Seconds for which a replica hears itself before it shares: in these it hears all others, too."""

_LATEST = 1.0
"""The seconds by which a batch may be later than the fastest of its sender in the last minute."""

_HALF = 30.0
"""Seconds: half of that minute."""

_REMEMBERED = 60.0
"""Seconds for which a sender that is not heard is remembered, to tell when its batches are late."""

_MOST = 64
"""The most senders. There should be 16 at most, but who can publish can pretend to be many."""


class _Heard:
    """What is known of one sender."""

    __slots__ = ("at", "fastest", "fastest_before", "next", "since")

    def __init__(self, number: int, now: float) -> None:
        self.next = number
        """The number that its next batch has if none is lost."""
        self.at = now
        """When its last batch was heard that was not late."""
        self.fastest = self.fastest_before = inf
        """The least difference between when a batch was heard and when it was sent, each on its
        own clock: in this half minute, and in that before."""
        self.since = now
        """When this half minute began."""


class Members:
    """
    Who is heard. All times are monotonic, in seconds, and no two clocks need to agree: a batch is
    dated by the fastest one of its sender, which took almost no time.

    :param me: the sender of this replica's own batches.
    """

    def __init__(self, me: bytes) -> None:
        self._me = me
        self._heard: dict[bytes, _Heard] = {}
        self._echoing_since: float | None = None
        self.lost = 0
        """How many batches of others did not arrive, as the number of the next one showed."""
        self.echo = inf
        """The seconds from when this replica sent its last batch to when it heard it."""

    def hear(self, head: Head, now: float) -> float | None:
        """
        A batch was heard. Returns when it was sent, on this replica's clock; None when that is too
        long ago, or when there are too many members.

        A server that was stopped delivers what it has when it goes on.
        """
        heard = self._heard.get(head.sender)
        if heard is None:
            if len(self._heard) >= _MOST:
                return None
            heard = self._heard[head.sender] = _Heard(head.number, now)
        if head.sender != self._me:
            self.lost += max(0, head.number - heard.next)
        heard.next = head.number + 1
        if now - heard.since > _HALF:
            heard.fastest_before, heard.fastest = heard.fastest, inf
            heard.since = now
        took = now - head.sent
        heard.fastest = min(heard.fastest, took)
        fastest = min(heard.fastest, heard.fastest_before)
        if head.sender == self._me:
            self.echo = took
        if took > fastest + _LATEST:
            return None
        heard.at = now
        if head.sender == self._me and self._echoing_since is None:
            self._echoing_since = now
        return head.sent + fastest

    def leave(self, sender: bytes) -> None:
        """A member says that it stops."""
        self._heard.pop(sender, None)

    def paused(self, seconds: float, now: float) -> None:
        """This replica stood still for so long, in which it could not have heard anybody."""
        for heard in self._heard.values():
            heard.at = min(heard.at + seconds, now)

    def look(self, now: float) -> set[bytes]:
        """The members that are heard at present, without this one."""
        for sender in [s for s, heard in self._heard.items() if now - heard.at > _REMEMBERED]:
            del self._heard[sender]
        present = {s for s, heard in self._heard.items() if now - heard.at <= SILENT_AFTER}
        if self._me not in present:
            self._echoing_since = None
        return present - {self._me}

    def is_alone(self, now: float) -> bool:
        """Whether this replica does not hear itself, so that it cannot know who hears it."""
        return self._echoing_since is None or now - self._echoing_since < SETTLED
