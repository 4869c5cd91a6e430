"""The process: its clock, descriptors, garbage collection, signals and log."""

from infernet_router.process.descriptors import raise_limit
from infernet_router.process.garbage import Freezer
from infernet_router.process.hangup import HangupListener
from infernet_router.process.lingering import linger
from infernet_router.process.log_lines import FORMATS, LEVELS, line_format
from infernet_router.process.logs import CannotLog, Log, open_log
from infernet_router.process.slices import Slices
from infernet_router.process.systemd import Systemd, notifier, watchdog_seconds
from infernet_router.process.timekeeping import keep_time
from infernet_router.process.turns import Turns
from infernet_router.process.writing import unblock_standard_streams

__all__ = [
    "FORMATS",
    "LEVELS",
    "CannotLog",
    "Freezer",
    "HangupListener",
    "Log",
    "Slices",
    "Systemd",
    "Turns",
    "keep_time",
    "line_format",
    "linger",
    "notifier",
    "open_log",
    "raise_limit",
    "unblock_standard_streams",
    "watchdog_seconds",
]
