"""Makes an id for each decision, and finds the node chosen when a client returns the id."""

import re
from array import array
from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import KEPT
from infernet_router.serving.errors import HTTPError

VALID = 600
"""Seconds in which an id can be used, and perhaps one more, as only whole seconds are noted."""

MAX_ID = 100
"""The longest id that is looked at, in characters; those made here are shorter."""

_HASH_SIZE = 10
"""Bytes of the hash in an id: guessing one takes 2^79 requests on average."""

_NAMED = re.compile("([0-9a-f]{16})-.+-.+-.+-")
"""The beginning of an id that names its router."""

UNKNOWN = f"the decision is unknown or older than {VALID // 60} minutes"


class Decisions:
    """
    The ids of the decisions that this process made.

    An id consists of four hexadecimal numbers: the number of the decision in the fleet; the
    second in which it was made; a number that stands for the node; and a keyed hash of these three,
    so that nobody else can make an id. Making one takes less than a microsecond, and stores nothing
    unless the node is chosen for the first time.

    The nodes chosen, and one bit for each decision whose id may have been used, are kept for two
    periods, each as long as an id is valid. At ten thousand decisions a second, the bits take 750
    kB a period.

    :param seconds: the monotonic time, in seconds.
    :param key: the secret key of the hash, at most 64 bytes.
    :param router: what stands for this router, if several share a fleet: 16 hexadecimal digits,
        with which its ids begin.
    """

    def __init__(self, seconds: Callable[[], float], key: bytes, router: str = "") -> None:
        self._seconds = seconds
        self._keyed = blake2b(key=key, digest_size=_HASH_SIZE)
        self._prefix = f"{router}-".encode() if router else b""
        self._began = seconds()
        self._period = self._previous = _Period(0, 0)
        self._nodes = array("I", bytes(4 * KEPT))
        """The number of the node that each of the last decisions chose."""

    def made(self, address: NodeAddress, number: int, at: float) -> bytes:
        """
        The id of a decision that chose this node.

        :param number: that of the decision: Fleet.decided, just after it was made.
        :param at: when it was made: Fleet.decided_at.
        """
        second, period = int(at - self._began), self._period
        if second > period.began + VALID:
            self._previous = period
            period = self._period = _Period(second, number)
        node = self._nodes[number % KEPT] = period.number(address)
        content = b"%b%x-%x-%x" % (self._prefix, number, second, node)
        return b"%b-%b" % (content, self._hash(content))

    def id_of(self, number: int, at: float) -> str:
        """
        The id of one of the last 20,000 decisions, as `made` returned it.

        :param at: when it was made.
        """
        second = int(at - self._began)
        node = self._nodes[number % KEPT]
        content = b"%b%x-%x-%x" % (self._prefix, number, second, node)
        return (b"%b-%b" % (content, self._hash(content))).decode()

    def number_of(self, id: str) -> int | None:
        """The number of the decision that has an id, however old; None if no decision has it."""
        content, _, hashed = id.encode().rpartition(b"-")
        if not compare_digest(hashed, self._hash(content)):
            return None
        return int(content.removeprefix(self._prefix).partition(b"-")[0], 16)

    def made_by(self, id: str) -> bytes | None:
        """The other router that an id begins with; None if it does not begin with any."""
        named = _NAMED.match(id)
        if not self._prefix or named is None or id.startswith(self._prefix.decode()):
            return None
        return bytes.fromhex(named[1])

    def use(self, id: str) -> NodeAddress:
        """
        The node that a decision chose; each id can be used once.

        :raises HTTPError: 404 when the id is unknown or too old, 409 when it was used before.
        """
        if self.number_of(id) is None:
            raise HTTPError(404, UNKNOWN)
        content = id.encode().rpartition(b"-")[0].removeprefix(self._prefix)
        count, made_at, number = (int(part, 16) for part in content.split(b"-"))
        if int(self._seconds() - self._began) > made_at + VALID:
            raise HTTPError(404, UNKNOWN)
        period = self._period if count >= self._period.first else self._previous
        if not period.use(count):
            raise HTTPError(409, "the decision has an outcome already")
        return period.nodes[number]

    def _hash(self, content: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(content)
        return keyed.hexdigest().encode()


class _Period:
    """
    A time in which decisions are made.

    :param began: the second in which it began.
    :param first: the number of its first decision.
    """

    def __init__(self, began: int, first: int) -> None:
        self.began = began
        self.first = first
        self.nodes: list[NodeAddress] = []
        self._numbers: dict[str, int] = {}
        """The position of each node in the list, by the text of its address."""
        self._used = bytearray()
        """One bit for each decision, up to the last one whose id was used."""

    def number(self, address: NodeAddress) -> int:
        """The number that stands for a node in this period."""
        number = self._numbers.setdefault(address.text, len(self.nodes))
        if number == len(self.nodes):
            self.nodes.append(address)
        return number

    def use(self, count: int) -> bool:
        """Use the id of a decision; returns whether that is the first time."""
        byte, bit = divmod(count - self.first, 8)
        self._used.extend(bytes(max(0, byte + 1 - len(self._used))))
        used = self._used[byte]
        self._used[byte] = used | 1 << bit
        return self._used[byte] != used
