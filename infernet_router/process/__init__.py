"""The process: its clock, descriptors, garbage collection, signals and log."""

from infernet_router.process.descriptors import raise_limit
from infernet_router.process.garbage import Freezer
from infernet_router.process.hangup import HangupListener
from infernet_router.process.logs import CannotLog, Log, open_log
from infernet_router.process.slices import Slices
from infernet_router.process.timekeeping import keep_time
from infernet_router.process.writing import unblock_standard_streams

__all__ = [
    "CannotLog",
    "Freezer",
    "HangupListener",
    "Log",
    "Slices",
    "keep_time",
    "open_log",
    "raise_limit",
    "unblock_standard_streams",
]
