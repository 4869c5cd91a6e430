"""Steps: work that may take long, done in steps of a few milliseconds."""

from collections.abc import Generator
from typing import TypeVar

Value = TypeVar("Value")

Steps = Generator[None, None, Value]
"""Yields after each step; returns the result."""


def finish(steps: Steps[Value]) -> Value:
    """Do all steps at once; returns their result."""
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            result: Value = finished.value
            return result
