"""The command line and environment variables, read into one Settings."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any

from twisted.python import usage

from infernet_router import __version__
from infernet_router.addresses import hide_credentials
from infernet_router.admin.access import BadToken, check_token, parse_host
from infernet_router.api.clients import parse_proxy
from infernet_router.api.cors import parse_origin
from infernet_router.nodes.node_headers import BadHeader, parse_headers
from infernet_router.option_help import grouped, hint, unknown_variables
from infernet_router.option_table import FLAGS, OPTIONS, PREFIX, variable_of
from infernet_router.option_values import Withheld, named_weight, yes_or_no
from infernet_router.process import unblock_standard_streams
from infernet_router.quoting import quoted
from infernet_router.reports import KINDS
from infernet_router.settings import Settings


class CannotStart(SystemExit, Exception):
    """
    The router cannot start; the message says why.

    As a SystemExit, it makes Python print the message instead of a traceback and exit with code 1.
    As an Exception, it makes twistd clean up first.
    """

    def __init__(self, why: str) -> None:
        super().__init__("\n".join(f"infernet-router: {line}" for line in why.splitlines()))


_SERVICE_LINK = "tcp://"
"""What begins the value that Kubernetes gives INFERNET_ROUTER_PORT when a service is named
infernet-router; no option takes it, so it is ignored."""


def _read(read: Callable[[str], Any], text: str, source: str) -> Any:
    """
    Read a value that was given by `source`, a flag or an environment variable.

    :raises CannotStart: when it is invalid.
    """
    try:
        return read(text)
    except Withheld as error:
        raise CannotStart(f"{source} {error}") from None
    except ValueError as error:
        given = quoted(hide_credentials(text) if "://" in text else text)
        raise CannotStart(f"{source} {error}, not {given}") from None


_TCP = re.compile("(haproxy:)?tcp6?:")
"""What the endpoints begin with that listen on a TCP port without TLS."""

_REPEATABLE = (
    "listen",
    "job-weight",
    "pending-weight",
    "trust-proxy",
    "cors-origin",
    "admin-host",
    "node-header",
)
"""The options that may be given more than once."""

_NO_OPTIONS = ("admin-token", "url")
"""What only environment variables say: `url` is for infernet-router-ctl."""


class Options(usage.Options):
    """
    The options of `twistd infernet-router`; once parsed, `settings` has their values.

    A flag beats its environment variable INFERNET_ROUTER_NAME, which beats the variable that it had
    in release 1.0.0, which beats the default. An empty variable is ignored.

    :param environ: the environment variables.
    """

    synopsis = "[options]"
    longdesc = (
        "Each option can also be set by an environment variable: INFERNET_ROUTER_ and its name in"
        " capitals, with _ for -, such as INFERNET_ROUTER_MAX_POLLS. Several values of one are"
        " separated by blanks, those of --node-header by line ends; an option without a value is"
        " yes or no."
    )
    optParameters = [option.row() for option in OPTIONS]
    optFlags = [[name, None, doc] for name, doc in FLAGS.items()]

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environ = environ
        self._values: dict[str, Any] = {}
        self._variable = ""
        """The environment variable that is being read, in place of flags."""
        self.settings = Settings()

    def opt_listen(self, description: str) -> None:
        """serve on this Twisted endpoint, such as tcp6:4000, in place of --port; repeatable"""
        self._append("listen", description)

    def opt_job_weight(self, text: str) -> None:
        """cost of a job for one container, CONTAINER=0.01 to 1000, default 1; repeatable"""
        self._add_weight("job-weight", named_weight("CONTAINER=WEIGHT", 0.01), text)

    def opt_pending_weight(self, text: str) -> None:
        """cost of a pending job of one kind, such as onchain=0 to 1000, default 1; repeatable"""
        shape = " or ".join(f"{kind}=WEIGHT" for kind in KINDS)
        self._add_weight("pending-weight", named_weight(shape, 0, KINDS), text)

    def opt_trust_proxy(self, text: str) -> None:
        """believe X-Forwarded-For and Forwarded of this IP address, network or unix; repeatable"""
        self._append("trust_proxy", _read(parse_proxy, text, self._source("trust-proxy")))

    def opt_cors_origin(self, text: str) -> None:
        """allow pages of this origin, such as https://app.example.org, or * for all; repeatable"""
        self._append("cors_origin", _read(parse_origin, text, self._source("cors-origin")))

    def opt_admin_host(self, text: str) -> None:
        """name by which operators reach the router, such as router.example.org; repeatable"""
        self._append("admin_host", _read(parse_host, text, self._source("admin-host")))

    def opt_node_header(self, text: str) -> None:
        """send this header, NAME: VALUE, or those in @FILE, to all nodes; repeatable"""
        try:
            headers = parse_headers(text)
        except BadHeader as error:  # it does not show the text, which may be a secret
            raise CannotStart(f"{self._source('node-header')}: {error}") from None
        self._values["node_header"] = (*self._values.get("node_header", ()), *headers)

    def opt_version(self) -> None:
        """Display the router's version and exit."""
        print(f"infernet-router {__version__}")
        raise SystemExit(0)

    def _append(self, field: str, value: object) -> None:
        """Add one value of a repeatable option."""
        self._values[field] = (*self._values.get(field, ()), value)

    def _add_weight(self, option: str, read: Callable[[str], Any], text: str) -> None:
        """Add one weight of a repeatable option; each name may be given once."""
        name, weight = _read(read, text, self._source(option))
        weights = self._values.setdefault(option.replace("-", "_"), {})
        if name in weights:
            raise CannotStart(f"{self._source(option)} names {quoted(name)} twice")
        weights[name] = weight

    def _source(self, option: str) -> str:
        """Where the value of a repeatable option comes from."""
        return self._variable or f"--{option}"

    def parseOptions(self, options: list[str] | None = None) -> None:
        """
        Read the command line and the environment variables.

        :raises CannotStart: when an option or a variable is invalid.
        """
        if self.parent is not None:  # twistd runs this, and not a test
            unblock_standard_streams()
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            why = f"{error}{self._hint(str(error), options or ())}"
            raise CannotStart(f"{why}; see twistd infernet-router --help") from None

    def parseArgs(self, *words: str) -> None:
        """Refuse what is neither an option nor the value of one."""
        if words:
            raise usage.UsageError(f"{quoted(words[0])} is not an option")

    def getUsage(self, width: int | None = None) -> str:
        """The text of --help, after the first line."""
        columns = width or min(get_terminal_size().columns, 100)
        purpose = "Tells clients of Infernet nodes which node to send a job to."
        text = "\n".join(wrap(self.longdesc, columns))
        return f"\n{purpose}\n\n{grouped(self.docs, columns)}\n{text}\n"

    def _hint(self, error: str, given: Sequence[str]) -> str:
        """What a misspelt option may mean."""
        names, of_twistd = (
            [option.rstrip("=") for option in options.longOpt] if options is not None else []
            for options in (self, self.parent)
        )
        return hint(error, given, names, of_twistd)

    def postOptions(self) -> None:
        """Read the options with one value, which are None unless given, and make the settings."""
        if self["port"] is not None and "listen" in self._values:
            raise CannotStart("--port and --listen: give one of them")
        listens = "listen" in self._values or self["port"] is not None
        for name in _REPEATABLE:
            if name.replace("-", "_") not in self._values and not (name == "listen" and listens):
                self._read_variable(name)
        for option in OPTIONS:
            text, source = self[option.name], f"--{option.name}"
            for variable in option.variables if text is None else ():
                found = self._environ.get(variable, "")
                if text is None and found and not found.startswith(_SERVICE_LINK):
                    text, source = found, variable
            if option.name == "port" and "listen" in self._values:
                if source == variable_of("port") and not listens:
                    raise CannotStart(f"{source} and {variable_of('listen')}: give one of them")
            elif text is not None:
                self._values[option.field] = _read(option.read, text, source)
        for name in FLAGS:
            variable = variable_of(name)
            if self[name]:
                self._values[name.replace("-", "_")] = True
            elif text := self._environ.get(variable):
                self._values[name.replace("-", "_")] = _read(yes_or_no, text, variable)
        self._values["ips_given"] = "ips" in self._values
        self._values["admin_given"] = self._values.get("admin") is not None
        self._values["admin_token"] = self._token()
        self.settings = Settings(**self._values)
        self._check_sharing()

    def unknown_variables(self) -> tuple[tuple[str, str], ...]:
        """The environment variables that look like options, and are none; each with a hint."""
        names = (*(option.name for option in OPTIONS), *FLAGS, *_REPEATABLE, *_NO_OPTIONS)
        known = [variable_of(name).removeprefix(PREFIX) for name in names]
        return tuple(unknown_variables(self._environ, PREFIX, known))

    def _check_sharing(self) -> None:
        """
        Refuse options of routers that share a fleet or a port when they cannot work.

        :raises CannotStart: when that is so.
        """
        endpoints = self.settings.endpoints
        if self.settings.reuse_port and not any(map(_TCP.match, endpoints)):
            raise CannotStart("--reuse-port is for --port, and tcp: and tcp6: endpoints")
        url = self.settings.redis
        if url is None:
            for field in ("redis_ca_file", "redis_prefix"):
                if field in self._values:
                    name = field.replace("_", "-")
                    raise CannotStart(f"--{name} is for --redis, which is not given")
            return
        if self.settings.redis_ca_file is not None and not url.tls:
            raise CannotStart("--redis-ca-file is for rediss:// URLs, and --redis has another")
        missing = [name for name in ("txredisapi", "hiredis") if find_spec(name) is None]
        if missing:
            raise CannotStart(f"--redis needs {' and '.join(missing)}: install the extra redis")

    def _read_variable(self, name: str) -> None:
        """
        Read the environment variable of a repeatable option: its values, divided by blanks, or by
        line ends if the values may have blanks.
        """
        self._variable = variable_of(name)
        values = self._environ.get(self._variable, "")
        texts = values.split("\n") if name == "node-header" else values.split()
        for text in filter(str.strip, texts):
            getattr(self, f"opt_{name.replace('-', '_')}")(text)
        self._variable = ""

    def _token(self) -> str | None:
        """The token in the environment, which no message repeats."""
        variable = variable_of("admin-token")
        token = self._environ.get(variable, "").strip() or None
        try:
            return token and check_token(token)
        except BadToken as error:
            raise CannotStart(f"{variable}: {error}") from None
