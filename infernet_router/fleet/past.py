"""The past: which node an index stood for, and how fast it was, when a decision was made."""

from array import array

from infernet_router.addresses import NodeAddress

_CHANGES = 65_536
"""How many changes of rates are kept: 24 bytes each. A rate is learned from jobs, so it hardly
changes without any: even at a thousand reports a second these go back a minute, and in a fleet with
a decision a second, hours."""

_CHANGED = 0.002
"""The relative change of a price that is kept: jobs are shown this exactly."""

_REMOVED = 20_000
"""How many removed nodes are remembered."""


class Past:
    """
    What a fleet has to remember so that its last decisions can be explained.

    Decisions are counted from 1. A time is given here as the number of the last decision before it,
    so a decision saw what was replaced later at the same number or a higher one.
    """

    def __init__(self) -> None:
        self._since = array("q")
        """By index, when the node that it stands for was added."""
        self._rates = array("d")
        """By index, the rate at its last change that is kept."""
        self._prices = array("d")
        """By index, the price at its last change that is kept."""
        self._last_change = array("q")
        """By index, the number of its last change, counted from 1; 0 without one."""
        self._changes = 0
        """How many changes there were. The arrays below are a ring of the last ones."""
        self._changed_at = array("q", bytes(8 * _CHANGES))
        self._old_rates = array("f", bytes(4 * _CHANGES))
        self._old_prices = array("f", bytes(4 * _CHANGES))
        self._links = array("q", bytes(8 * _CHANGES))
        """The number of the change before, of the same index; 0 without one."""
        self._removals = 0
        """How many nodes were removed. The lists below are a ring of the last ones."""
        self._removed_index = array("i")
        self._removed_at = array("q")
        self._removed_since = array("q")
        self._removed: list[NodeAddress] = []
        self._former: dict[int, list[int]] | None = None
        """By index, the slots of the removed nodes that had it; made when needed."""

    def added(self, index: int, rate: float, price: float, last: int) -> None:
        """A node was added, after this decision."""
        if index == len(self._since):
            self._since.append(last)
            self._rates.append(rate)
            self._prices.append(price)
            self._last_change.append(0)
        else:
            self._since[index] = last
            self.priced(index, rate, price, last)

    def removed(self, index: int, address: NodeAddress, last: int) -> None:
        """A node was removed, after this decision."""
        if self._since[index] == last:
            return  # no decision saw it
        slot = self._removals % _REMOVED
        self._removals += 1
        self._former = None
        if slot == len(self._removed):
            self._removed_index.append(index)
            self._removed_at.append(last)
            self._removed_since.append(self._since[index])
            self._removed.append(address)
        else:
            self._removed_index[slot] = index
            self._removed_at[slot] = last
            self._removed_since[slot] = self._since[index]
            self._removed[slot] = address

    def priced(self, index: int, rate: float, price: float, last: int) -> None:
        """The rate and price of a node were set, after this decision."""
        if index >= len(self._prices):
            return  # it is about to be added
        old = self._prices[index]
        if abs(price - old) <= _CHANGED * old:
            return
        slot = self._changes % _CHANGES
        self._changes += 1
        self._changed_at[slot] = last
        self._old_rates[slot] = self._rates[index]
        self._old_prices[slot] = old
        self._links[slot] = self._last_change[index]
        self._last_change[index] = self._changes
        self._rates[index] = rate
        self._prices[index] = price

    def pace(self, index: int, decision: int) -> tuple[float, float]:
        """The rate and the price of a node when a decision was made, or the oldest ones known."""
        rate, price = self._rates[index], self._prices[index]
        number = self._last_change[index]
        while number > max(self._changes - _CHANGES, 0):
            slot = (number - 1) % _CHANGES
            if self._changed_at[slot] < decision:
                break
            rate, price = self._old_rates[slot], self._old_prices[slot]
            number = self._links[slot]
        return rate, price

    def address(self, index: int, decision: int, present: NodeAddress | None) -> NodeAddress | None:
        """
        The node that an index stood for when a decision was made; None if that is forgotten.

        :param present: the node that it stands for now.
        """
        if present is not None and self._since[index] < decision:
            return present
        if self._former is None:
            self._former = {}
            for slot, former in enumerate(self._removed_index):
                self._former.setdefault(former, []).append(slot)
        for slot in self._former.get(index, ()):
            if self._removed_since[slot] < decision <= self._removed_at[slot]:
                return self._removed[slot]
        return None
