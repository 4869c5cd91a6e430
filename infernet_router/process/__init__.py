"""The process: its clock, descriptors, garbage collection and signals."""

from infernet_router.process.descriptors import raise_limit
from infernet_router.process.garbage import Freezer
from infernet_router.process.hangup import HangupListener
from infernet_router.process.timekeeping import keep_time

__all__ = [
    "Freezer",
    "HangupListener",
    "keep_time",
    "raise_limit",
]
