"""Slices: long computations as generators, which let others run after each few milliseconds."""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")

Slices = Generator[None, None, Result]
"""A computation in slices: each `next` does one, and the result is what the generator returns."""


def completed(slices: Slices[Result]) -> Result:
    """The result of a computation, all at once."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: Result = end.value
            return result
