"""The log: formats events to lines, and opens what they are written to."""

import os
import signal
from collections.abc import Callable, Mapping
from errno import ESPIPE
from pathlib import Path
from typing import Any

from twisted.logger import ILogObserver, LogEvent, Logger, formatEventAsClassicLogText
from twisted.python.logfile import LogFile
from zope.interface import implementer

from infernet_router.files import TooSlow, in_time
from infernet_router.process.writing import LineWriter, descriptor_writer

_STANDARD_OUTPUT = 1

Format = Callable[[LogEvent], str | None]
"""Returns the line for an event, with its newline; None for an event that is not shown."""

log = Logger()


class CannotLog(Exception):
    """The log cannot be opened; the message says why."""


@implementer(ILogObserver)
class Log:
    """
    Formats events, and writes them without blocking.

    :param write: writes bytes, and may block or raise OSError.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        format_event: Format = formatEventAsClassicLogText,
    ) -> None:
        self._format = format_event
        self.writer = LineWriter(write, _say_dropped)

    def __call__(self, event: LogEvent) -> None:
        if line := self._format(event):
            self.writer.write(line.encode("utf-8", "backslashreplace"))

    @property
    def lines_dropped(self) -> int:
        """How many lines could not be written."""
        return self.writer.dropped


class RotatedFile(LogFile):
    """
    A log file that is opened anew when somebody has moved it, and otherwise rotated.

    Twisted's own goes on to write to a file that was moved. This one then leaves it to others to
    move it again, however long it gets.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._opened = Path(self.path).stat()

    def rotate(self) -> None:
        """Begin a new file. If that fails, go on with the old one."""
        try:
            if self._was_moved():
                flags = os.O_WRONLY | os.O_CREAT
                os.close(os.open(self.path, flags, self.defaultMode or 0o666))
                self.reopen()
                self.rotateLength = None
            else:
                super().rotate()
            self._opened = Path(self.path).stat()
        except OSError as error:
            log.warn(
                "cannot begin a new {path}: {reason}",
                event="log.not_rotated",
                path=self.path,
                reason=error.strerror,
            )

    def _was_moved(self) -> bool:
        try:
            return not os.path.samestat(Path(self.path).stat(), self._opened)
        except FileNotFoundError:
            return True


def open_log(
    twistd: Mapping[str, Any], format_event: Format = formatEventAsClassicLogText
) -> Log | None:
    """
    The log that these options of twistd ask for; None to leave it to twistd, as for syslog.

    SIGUSR1 begins a new log file, if it is a file.

    :raises CannotLog: when the file cannot be opened.
    """
    if twistd["logger"] or twistd["syslog"]:
        return None
    name = twistd["logfile"] or ("-" if twistd["nodaemon"] or twistd["debug"] else "twistd.log")
    if name == "-":
        return Log(descriptor_writer(_STANDARD_OUTPUT), format_event)
    try:
        file: RotatedFile = in_time(lambda: RotatedFile.fromFullPath(name))
    except OSError as error:
        pipe = "it is a pipe; leave --logfile out, or use -, to log to standard output"
        why = pipe if error.errno == ESPIPE else error.strerror or error
        raise CannotLog(f"cannot open {name} for the log: {why}") from None
    except TooSlow as error:
        raise CannotLog(f"cannot open {name} for the log: {error}") from None
    opened = Log(file.write, format_event)
    signal.signal(signal.SIGUSR1, lambda *_: opened.writer.call(file.rotate))
    return opened


def _say_dropped(count: int) -> None:
    log.warn(
        "{count} lines of the log were dropped, as they could not be written",
        event="log.dropped",
        count=count,
    )
