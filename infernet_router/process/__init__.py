"""The process: its descriptors, garbage collection and signals."""

from infernet_router.process.descriptors import raise_limit
from infernet_router.process.garbage import Freezer
from infernet_router.process.hangup import HangupListener
from infernet_router.process.lingering import linger

__all__ = [
    "Freezer",
    "HangupListener",
    "linger",
    "raise_limit",
]
