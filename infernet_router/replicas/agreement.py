"""Agreement: since when the other members know the same orders of operators as this one."""

from collections.abc import Collection
from math import inf


class Agreement:
    """The digest of the orders of each other member, as last heard."""

    def __init__(self) -> None:
        self._heard: dict[int, tuple[int, float]] = {}
        """By member, its digest and when that was heard first."""

    def heard(self, member: int, digest: int, now: float) -> None:
        """A batch of another member had this digest of its orders."""
        known = self._heard.get(member)
        if known is None or known[0] != digest:
            self._heard[member] = digest, now

    def keep(self, members: Collection[int]) -> None:
        """Forget all but these members."""
        for member in self._heard.keys() - set(members):
            del self._heard[member]

    def since(self, members: Collection[int], digest: int) -> float | None:
        """
        When the last of these members was heard to have this digest first; None while one has not.

        It is minus infinity without members, as there is nobody to wait for.
        """
        since = -inf
        for member in members:
            theirs, at = self._heard.get(member, (None, 0.0))
            if theirs != digest:
                return None
            since = max(since, at)
        return since
