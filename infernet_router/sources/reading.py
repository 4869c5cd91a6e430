"""Reads a file that others write to, and tells what can be taken from an unfinished one."""

from pathlib import Path
from time import sleep

from attrs import evolve, frozen

from infernet_router.files import read_file

_MAX_FILE = 8 * 1024 * 1024
"""The largest file that is read, in bytes. A hundred thousand nodes need 3 MiB."""

_QUIET = 0.05
"""Seconds without a change after which a file that is changed again and again is read."""

_LOOKS = 6
"""How many times to look for such a moment."""


@frozen
class Reading:
    """A file that was read."""

    content: bytes
    stamp: object
    is_quiet: bool
    """Whether nobody wrote to it meanwhile."""


@frozen
class Found:
    """What one draft of a file tells."""

    whole: bytes | None
    """All of the file, as it is or was a moment ago; None if that is not known."""
    lines: bytes
    """Lines that are in the file, but perhaps not all."""


class Drafts:
    """
    Compares drafts of one file that never stays the same for long.

    A file that is being written may lack its last lines, so a line that is missing in a draft need
    not be missing in the file. But when the next draft does not continue the one before, the file
    was written anew in between, and so the earlier draft had all that was to come.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin again: the file has settled."""
        self._changes = 0
        self._last: bytes | None = None
        """The last draft, if nobody wrote to the file while it was read."""
        self._told: bytes | None = None
        """What was found to be all of the file last."""

    def changed(self) -> bool:
        """The file has changed since the last look; returns whether that happens too often."""
        self._changes += 1
        return self._changes > 1

    def add(self, draft: bytes, *, is_quiet: bool) -> Found | None:
        """
        Compare a draft with the one before; None if it tells nothing new.

        :param is_quiet: whether nobody wrote to the file just before, and while it was read.
        """
        last, self._last = self._last, draft if is_quiet else None
        is_whole = last is not None and (draft == last or not draft.startswith(last))
        if is_whole and draft == last == self._told:
            return None
        if is_whole:
            self._told = last
        lines = draft[: draft.rfind(b"\n") + 1]
        return Found(last if is_whole else None, lines)


def read_now(path: Path) -> Reading:
    """
    Read a file.

    :raises BadFile: when it cannot be read.
    """
    stamp = stamp_of(path)
    content = read_file(path, _MAX_FILE)
    return Reading(content, stamp, is_quiet=stamp_of(path) == stamp)


def read_draft(path: Path) -> Reading:
    """
    Read a file that is being changed, if possible while nobody writes to it.

    :raises BadFile: when it cannot be read.
    """
    for _ in range(_LOOKS):
        before = stamp_of(path)
        sleep(_QUIET)
        reading = read_now(path)
        if reading.is_quiet and reading.stamp == before:
            return reading
    return evolve(reading, is_quiet=False)


def stamp_of(path: Path) -> object:
    """A value that changes when the file at a path is written, replaced or made readable."""
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
