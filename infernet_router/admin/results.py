"""Results: made in slices, and shared by all who ask for the same within a second."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from infernet_router.fleet import Steps
from infernet_router.process.turns import Turns

_FRESH = 1.0
"""Seconds for which a result is given to whoever asks for the same."""

_MAX_KEPT = 8
"""The most results that are kept for that; a list of nodes may have half a megabyte."""

Value = TypeVar("Value")


class _Result:
    """A result that is being made, or was made."""

    def __init__(self) -> None:
        self.value: Any = None
        self.made: float | None = None
        """When; None while it is being made."""
        self.waiting: list[Deferred[Any]] = []


class Results:
    """
    Makes results for operators.

    :param turns: does what takes long.
    :param clock: says for how long a result is fresh.
    """

    def __init__(self, turns: Turns, clock: IReactorTime) -> None:
        self.turns = turns
        self._clock = clock
        self._results: dict[Hashable, _Result] = {}

    def make(self, steps: Steps[Value]) -> Deferred[Value]:
        """The result of these steps."""
        return maybeDeferred(self.turns.run, steps)

    def once(self, name: Hashable, make: Callable[[], Steps[Value]]) -> Deferred[Value]:
        """
        The result of some steps, which are done at most once a second for all that ask for it.

        :param name: two results with the same name are the same.
        """
        self._forget()
        result = self._results.get(name)
        if result is not None and result.made is not None:
            return succeed(result.value)
        waiting: Deferred[Any] = Deferred()
        if result is None:
            result = self._results[name] = _Result()
            result.waiting.append(waiting)
            self.make(make()).addBoth(self._made, name, result)
        else:
            result.waiting.append(waiting)
        return waiting

    def _forget(self) -> None:
        """Forget old results, and the oldest of too many, but none that is being made."""
        oldest = self._clock.seconds() - _FRESH
        done = [(n, r.made) for n, r in self._results.items() if r.made is not None]
        for position, (name, made) in enumerate(done, _MAX_KEPT - len(done)):
            if made <= oldest or position < 0:
                del self._results[name]

    def _made(self, value: Any, name: Hashable, result: _Result) -> None:
        """Give a result, or the failure to make it, to all that wait for it."""
        result.value, result.made = value, self._clock.seconds()
        if isinstance(value, Failure):
            self._results.pop(name, None)
        waiting, result.waiting = result.waiting, []
        for one in waiting:
            one.callback(value)
