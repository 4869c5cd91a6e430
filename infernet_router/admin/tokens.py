"""Tokens: reads the file of the tokens that operators may use, at the start and on SIGHUP."""

import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from stat import S_IROTH

from attrs import frozen
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.admin.access import BadToken, Grant, Role, check_token, grant
from infernet_router.files import BadFile, OffLoop, TooSlow, in_time, read_file

_MAX_FILE = 1024 * 1024
"""The largest file that is read, in bytes."""

_NAME = re.compile(r"[\w.@+-]{1,64}", re.ASCII)
_ROLES = {"viewer": Role.VIEWER, "operator": Role.OPERATOR}

ENVIRONMENT = "env"
"""The name of the operator whose token is in the environment."""

log = Logger()


class BadTokens(Exception):
    """The file cannot be used; the message says where and why, and shows nothing of a line."""


def parse_tokens(text: str) -> list[Grant]:
    """
    What the tokens in a file allow: lines `NAME ROLE TOKEN`; blank lines and `#` lines are ignored.

    :raises BadTokens: when a line is bad, or there is no token; the message begins with the line.
    """
    grants: list[Grant] = []
    names: set[str] = {ENVIRONMENT}
    digests: set[bytes] = set()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            found = _grant(words, names)
            if found.digest in digests:
                raise BadToken("another name has the same token")
        except BadToken as error:
            raise BadTokens(f"line {number}: {error}") from None
        names.add(found.person.name)
        digests.add(found.digest)
        grants.append(found)
    if not grants:
        raise BadTokens("there is no token in it; a line is NAME ROLE TOKEN")
    return grants


def _grant(words: list[str], names: set[str]) -> Grant:
    """
    What the token of one line allows.

    :raises BadToken: when the line is bad.
    """
    if len(words) != 3:
        raise BadToken(f"it must be NAME ROLE TOKEN, not {len(words)} words")
    name, role, token = words
    if not _NAME.fullmatch(name):
        raise BadToken("NAME must be up to 64 letters, digits and _.@+-")
    if name in names:
        raise BadToken("NAME is taken")
    if role not in _ROLES:
        raise BadToken("ROLE must be viewer or operator")
    return grant(name, _ROLES[role], check_token(token))


@frozen
class _Contents:
    """What was found in the file."""

    grants: list[Grant]
    is_exposed: bool
    """Whether others may read the file."""


class Tokens:
    """
    The tokens that are valid now: those of a file, and the one in the environment.

    :param path: the file, if there is one.
    :param of_environment: the token of an operator.
    :param off_loop: reads the file again, which may hang.
    :raises BadTokens: when the file is bad.
    """

    def __init__(
        self, path: Path | None, of_environment: str | None, off_loop: OffLoop[_Contents]
    ) -> None:
        self._path = None if path is None else path.absolute()
        self._off_loop = off_loop
        self._grants: list[Grant] = []
        self._fixed = (
            [] if of_environment is None else [grant(ENVIRONMENT, Role.OPERATOR, of_environment)]
        )
        self._problem = ""
        """What was wrong with the file when it was read last, and was logged."""
        self._was_exposed = False
        """Whether others could read the file, which was logged."""
        self._is_reading = False
        self._is_told = False
        """Whether to read the file again after it was read."""
        if self._path is not None:
            try:
                contents = in_time(partial(_read, self._path))
            except (BadFile, TooSlow) as error:
                raise _cannot_read(self._path, error) from None
            self._take(self._path, contents)

    def __call__(self) -> list[Grant]:
        """What each valid token allows."""
        return self._fixed + self._grants

    def read_again(self) -> None:
        """Read the file again; while it is bad, the tokens that were in it stay valid."""
        if self._path is None:
            return
        if self._is_reading:
            self._is_told = True
            return
        self._is_reading = True
        reading = self._off_loop.run(partial(_read, self._path))
        reading.addCallback(partial(self._take, self._path))
        reading.addErrback(self._failed, self._path)
        reading.addErrback(self._broke)
        reading.addBoth(self._has_read)

    def _has_read(self, _: object) -> None:
        self._is_reading = False
        if self._is_told:
            self._is_told = False
            self.read_again()

    def _take(self, path: Path, contents: _Contents) -> None:
        """Use what was found in the file."""
        if self._problem:
            log.info("{path} works again", event="tokens.good", path=path)
        self._problem = ""
        self._grants = contents.grants
        if contents.is_exposed and not self._was_exposed:
            log.warn(
                "{path} holds tokens, and others may read it: chmod o-r",
                event="tokens.exposed",
                path=path,
            )
        self._was_exposed = contents.is_exposed

    def _failed(self, failure: Failure, path: Path) -> None:
        """Say once why the file cannot be used."""
        failure.trap(BadFile, BadTokens, TooSlow)
        problem = str(_cannot_read(path, failure.value))
        if problem != self._problem:
            self._problem = problem
            log.warn("{problem}; keeping the tokens it had", event="tokens.bad", problem=problem)

    def _broke(self, failure: Failure) -> None:
        log.failure("reading the tokens failed", failure, event="internal.error")


def _read(path: Path) -> _Contents:
    """
    Read the file; this may hang.

    :raises BadFile: when it cannot be read.
    :raises BadTokens: when what is in it is bad.
    """
    content = read_file(path, _MAX_FILE)
    try:
        grants = parse_tokens(content.decode("utf-8", "replace"))
    except BadTokens as error:
        raise BadTokens(f"{path}, {error}") from None
    is_exposed = False
    with suppress(OSError):  # it may be gone by now
        is_exposed = bool(path.stat().st_mode & S_IROTH)
    return _Contents(grants, is_exposed)


def _cannot_read(path: Path, error: BaseException | None) -> BadTokens:
    """Why the file cannot be used."""
    return BadTokens(f"cannot read {path}: {error}" if isinstance(error, TooSlow) else str(error))
