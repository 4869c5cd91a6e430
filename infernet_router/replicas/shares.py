"""Shares: which member polls which node, as all of them work it out for themselves."""

from collections import deque
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice

from infernet_router.addresses import NodeAddress

KEY_SIZE = 8
"""The bytes of a node's key."""

_BITS = (1 << 64) - 1

_BY_DIFFERENCE = 8
"""The most changes of the members that are applied one by one; after more, all are compared."""


class Share:
    """What is known of one node for the division of the polls."""

    __slots__ = (
        "address",
        "failed",
        "for_all",
        "is_mine",
        "key",
        "missed",
        "number",
        "owner",
        "score",
        "seen",
    )

    def __init__(self, address: NodeAddress, key: bytes) -> None:
        self.address = address
        self.key = key
        """What stands for the node in a batch, the same at all members."""
        self.number = int.from_bytes(key, "big")
        self.owner = 0
        """The member with the highest score."""
        self.score = -1
        """The score of that member."""
        self.seen = 0
        """How many changes of the members these two take into account; 0 before the first look."""
        self.failed: set[int] | None = None
        """The members whose own last poll of it failed."""
        self.missed: set[int] | None = None
        """The members whose polls failed since any member last had a report of it."""
        self.for_all = False
        """Whether every member polls it, as its reports are too large to be shared."""
        self.is_mine = False
        """Whose turn it was when the poller last looked."""


class Shares:
    """
    Divides the polls of all nodes among the members.

    The owner of a node is the member with the highest score for it, a hash of both (rendezvous
    hashing: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998). So
    all members that know each other agree without a message, and when one comes or goes, only the
    nodes that it gets or had change their owner. Members whose own last poll of a node failed are
    passed over, as the fault may be theirs; once all have failed, it is the node's, and its owner
    polls it again.

    :param me: the number of this member.
    """

    def __init__(self, me: int) -> None:
        self.me = me
        self.members = {me}
        """This member, and those that share the polls with it."""
        self._changes = deque([(me, True)], maxlen=_BY_DIFFERENCE)
        """The last changes: a member, and whether it came."""
        self._count = 1
        """How many changes there were."""
        self._by_key: dict[bytes, Share] = {}
        self._by_address: dict[NodeAddress, Share] = {}

    def add(self, address: NodeAddress) -> Share:
        """Add a node."""
        key = key_of(address)
        share = self._by_key[key] = self._by_address[address] = Share(address, key)
        return share

    def remove(self, address: NodeAddress) -> None:
        """Remove a node."""
        share = self._by_address.pop(address)
        del self._by_key[share.key]

    def of(self, address: NodeAddress) -> Share | None:
        """The share of a node; None if there is no such node."""
        return self._by_address.get(address)

    def with_key(self, key: bytes) -> Share | None:
        """The share of the node that a batch means; None if it is not known here."""
        return self._by_key.get(key)

    def each(self) -> Iterator[Share]:
        """All shares; nodes that are removed meanwhile may be included, new ones are not."""
        return iter(tuple(self._by_address.values()))

    def set_members(self, members: Iterable[int]) -> bool:
        """Set who shares the polls, apart from this member. Returns whether that is a change."""
        new = {self.me, *members}
        changes = [(member, False) for member in self.members - new]
        changes += [(member, True) for member in new - self.members]
        self._changes += changes
        self._count += len(changes)
        self.members = new
        return bool(changes)

    def is_mine(self, share: Share) -> bool:
        """Whether this member polls a node now."""
        if len(self.members) == 1 or share.for_all:
            return True
        if share.failed and not self.all_failed(share):
            left = self.members - share.failed
            number = share.number
            return max(left, key=lambda member: score(member, number)) == self.me
        return self.owner(share) == self.me

    def owner(self, share: Share) -> int:
        """The member with the highest score for a node."""
        if share.seen != self._count:
            number, behind = share.number, self._count - share.seen
            share.seen = self._count
            if not self._follow(share, behind):
                share.score, share.owner = max((score(m, number), m) for m in self.members)
        return share.owner

    def _follow(self, share: Share, behind: int) -> bool:
        """Apply the last changes to an owner. Returns False if that takes a look at all members."""
        if share.score < 0 or behind > len(self._changes):
            return False
        for member, came in islice(self._changes, len(self._changes) - behind, None):
            if came and (new := score(member, share.number)) > share.score:
                share.owner, share.score = member, new
            elif not came and member == share.owner:
                return False
        return True

    def all_failed(self, share: Share) -> bool:
        """Whether the last poll of every member failed."""
        return share.failed is not None and self.members <= share.failed

    def answered(self, share: Share, member: int) -> None:
        """
        A member has a report of a node.

        If all had failed, the node was away, and it says nothing of any member that it failed.
        """
        if share.failed is not None:
            all_failed = self.all_failed(share)
            share.failed.discard(member)
            if all_failed or not share.failed:
                share.failed = None
        share.missed = None

    def failed(self, share: Share, member: int) -> int:
        """
        A member's poll of a node failed. Returns of how many members polls have failed since the
        last report.

        A member that failed before, while others did not, does not count: the fault is its own.
        """
        failed = (share.failed or set()) & self.members
        if member not in failed or failed >= self.members:
            share.missed = (share.missed or set()) | {member}
        share.failed = failed | {member}
        return len(share.missed or ())


def key_of(address: NodeAddress) -> bytes:
    """What stands for a node in a batch: the same for all spellings of its address."""
    return blake2b(address.canonical.encode(), digest_size=KEY_SIZE).digest()


def score(member: int, number: int) -> int:
    """
    The score of a member for a node, each given as 64 random bits.

    A multiplication carries each bit to all higher ones, and the shift brings those back to the
    lower ones (Knuth's multiplicative hashing, twice). A cryptographic hash takes five times as
    long.
    """
    mixed = ((member ^ number) * 0x9E3779B97F4A7C15) & _BITS
    return ((mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93) & _BITS
