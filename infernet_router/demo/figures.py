"""The figures of the demo: how each side fares, and which one is faster."""

from statistics import fmean
from typing import Self

from attrs import frozen

from infernet_router.demo.sides import Side, percentile


@frozen
class Figures:
    """How one side fares; times are in seconds, None before the first job has ended."""

    mean: float | None
    p99: float | None
    done: int
    waiting: int
    retries: int

    @classmethod
    def of(cls, side: Side, *, so_far: bool = False) -> Self:
        """
        The figures of a side.

        :param so_far: count jobs without a result, with the time that they have taken so far.
        """
        times = side.times_so_far if so_far else side.times
        return cls(
            mean=fmean(times) if times else None,
            p99=percentile(times, 0.99) if times else None,
            done=side.done,
            waiting=side.waiting,
            retries=side.retries,
        )


def shown(seconds: float | None) -> str:
    """A job time, for people."""
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"


def ratio(ours: float | None, theirs: float | None) -> str:
    """How much longer a job takes there than with this router; empty while that is unknown."""
    return f"{theirs / ours:.1f} times as long" if ours and theirs else ""


def line(ours: Side, theirs: Side) -> str:
    """Both sides in one line."""
    return "; ".join(
        f"{name}: mean {shown(of.mean)}, p99 {shown(of.p99)}, {of.waiting} waiting"
        for name, of in (
            ("router", Figures.of(ours)),
            ("least pending", Figures.of(theirs)),
        )
    )


def verdict(ours: Side, theirs: Side) -> tuple[bool, list[str]]:
    """
    Whether this router won, and the result in lines.

    Jobs without a result count with the time that they have taken so far, which favours the slower
    side.
    """
    one, other = (Figures.of(side, so_far=True) for side in (ours, theirs))
    if one.mean is None or other.mean is None or not ours.done:
        return False, ["no job was done, so there is nothing to compare"]
    lines = [
        f"{name:13}  mean {shown(of.mean):>7}  p99 {shown(of.p99):>7}  {of.done:4} done"
        f"  {of.waiting:3} waiting  {of.retries:3} retries"
        for name, of in (("this router", one), ("least pending", other))
    ]
    won = one.mean < other.mean
    lines.append(
        f"With least pending, a job takes {ratio(one.mean, other.mean)} as with this router."
        if won
        else "The router lost: with least pending, jobs take no longer."
    )
    return won, lines
