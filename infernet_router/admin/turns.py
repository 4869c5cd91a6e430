"""Turns: does long work in slices over several turns of the reactor, and what many ask for once."""

from collections.abc import Callable, Generator, Hashable
from math import inf
from time import perf_counter
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.python.failure import Failure

_SLICE = 0.002
"""Seconds of work in a turn: clients are answered in between."""

_LONGEST_SLICE = 0.008
"""The same when the reactor is so busy that turns are rare: work must end some time."""

_SHARE = 0.1
"""The share of the time since the last slice that a slice may take."""

_LONGEST_TURN = 2.0
"""After more seconds than that, the last slice was that of other work."""

_FRESH = 1.0
"""Seconds for which a result is given to whoever asks for the same."""

_MAX_KEPT = 8
"""The most results that are kept for that; a list of nodes may have half a megabyte."""

Result = TypeVar("Result")
Work = Generator[None, None, Result]
"""Work that yields wherever it may be interrupted; steps between take much less than a slice."""


class _Result:
    """A result that is being made, or was made."""

    def __init__(self) -> None:
        self.value: Any = None
        self.made: float | None = None
        """When; None while it is being made."""
        self.waiting: list[Deferred[Any]] = []


class Turns:
    """
    Does work in slices. All work that is being done shares one slice in each turn of the reactor.

    :param clock: schedules the turns.
    :param now: the time that bounds a slice, in seconds.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._now = now
        self._cooperator = Cooperator(
            terminationPredicateFactory=self._begin_slice,
            scheduler=lambda turn: clock.callLater(0, turn),
        )
        self._last_slice = -inf
        """When the last slice began."""
        self._results: dict[Hashable, _Result] = {}

    def do(self, work: Work[Result]) -> Deferred[Result]:
        """The result of some work."""
        results: list[Result] = []

        def steps() -> Generator[None, None, None]:
            results.append((yield from work))

        done: Deferred[Any] = self._cooperator.cooperate(steps()).whenDone()
        return done.addCallback(lambda _: results[0])

    def once(self, name: Hashable, make: Callable[[], Work[Result]]) -> Deferred[Result]:
        """
        The result of some work, which is done at most once a second for all that ask for it.

        :param name: two results with the same name are the same.
        """
        self._forget()
        result = self._results.get(name)
        if result is not None and result.made is not None:
            return succeed(result.value)
        if result is None:
            result = self._results[name] = _Result()
            self.do(make()).addBoth(self._made, name, result)
        waiting: Deferred[Any] = Deferred()
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

    def _begin_slice(self) -> Callable[[], bool]:
        began = self._now()
        turn = began - self._last_slice
        busy = turn * _SHARE if turn < _LONGEST_TURN else 0.0
        end = began + min(max(_SLICE, busy), _LONGEST_SLICE)
        self._last_slice = began
        return lambda: self._now() > end
