"""Tokens: reads the file of the tokens that operators may use, at the start and on SIGHUP."""

import os
import re
from pathlib import Path
from stat import S_IROTH, S_ISREG

from twisted.logger import Logger

from infernet_router.admin.access import BadToken, Grant, Role, check_token, grant

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
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            found = _grant(words, names)
            if found.digest in [known.digest for known in grants]:
                raise BadToken("another name has the same token")
        except BadToken as error:
            raise BadTokens(f"line {number}: {error}") from None
        names.add(found.person.name)
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


class Tokens:
    """
    The tokens that are valid now: those of a file, and the one in the environment.

    :param path: the file, if there is one.
    :param of_environment: the token of an operator.
    :raises BadTokens: when the file is bad.
    """

    def __init__(self, path: Path | None = None, of_environment: str | None = None) -> None:
        self._path = None if path is None else path.absolute()
        self._grants: list[Grant] = []
        self._fixed = (
            [] if of_environment is None else [grant(ENVIRONMENT, Role.OPERATOR, of_environment)]
        )
        self._problem = ""
        """What was wrong with the file when it was read last, and was logged."""
        self._was_open = False
        """Whether others could read the file, which was logged."""
        if self._path is not None:
            self._grants = self._read(self._path)

    def __call__(self) -> list[Grant]:
        """What each valid token allows."""
        return self._fixed + self._grants

    def read_again(self) -> None:
        """Read the file again; while it is bad, the tokens that were in it stay valid."""
        if self._path is None:
            return
        try:
            grants = self._read(self._path)
        except BadTokens as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.warn(
                    "{problem}; keeping the tokens it had",
                    event="tokens.bad",
                    problem=self._problem,
                )
            return
        if self._problem:
            log.info("{path} works again", event="tokens.good", path=self._path)
        self._problem = ""
        self._grants = grants

    def _read(self, path: Path) -> list[Grant]:
        try:
            # Opening a pipe would wait for its writer.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                status = os.fstat(file.fileno())
                if not S_ISREG(status.st_mode):
                    raise BadTokens(f"{path} is not a regular file")
                content = file.read(_MAX_FILE + 1)
        except OSError as error:
            raise BadTokens(f"cannot read {path}: {error.strerror}") from None
        if len(content) > _MAX_FILE:
            raise BadTokens(f"{path} is larger than {_MAX_FILE // 2**20} MiB")
        try:
            grants = parse_tokens(content.decode("utf-8", "replace"))
        except BadTokens as error:
            raise BadTokens(f"{path}, {error}") from None
        is_open = bool(status.st_mode & S_IROTH)
        if is_open and not self._was_open:
            log.warn(
                "{path} holds tokens, and others may read it: chmod o-r",
                event="tokens.exposed",
                path=path,
            )
        self._was_open = is_open
        return grants
