"""The command line and environment variables, read into one Settings."""

import os
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from twisted.python import usage

from infernet_router import __version__
from infernet_router.addresses import BadAddress, NodeAddress, hide_credentials, parse_address
from infernet_router.admin.access import BadToken, check_token, parse_host
from infernet_router.api.clients import parse_proxy
from infernet_router.api.cors import parse_origin
from infernet_router.api.rate_limit import MAX_RATE
from infernet_router.nodes.node_headers import BadHeader, parse_headers
from infernet_router.process import FORMATS, LEVELS, unblock_standard_streams
from infernet_router.quoting import quoted
from infernet_router.reports import KINDS
from infernet_router.settings import Settings, shown


class CannotStart(SystemExit, Exception):
    """
    The router cannot start; the message says why.

    As a SystemExit, it makes Python print the message instead of a traceback and exit with code 1.
    As an Exception, it makes twistd clean up first.
    """

    def __init__(self, why: str) -> None:
        super().__init__("\n".join(f"infernet-router: {line}" for line in why.splitlines()))


_PREFIX = "INFERNET_ROUTER_"
"""What the name of every environment variable begins with, but for those of release 1.0.0."""

_SERVICE_LINK = "tcp://"
"""What begins the value that Kubernetes gives INFERNET_ROUTER_PORT when a service is named
infernet-router; no option takes it, so it is ignored."""


def _whole_number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and 1 <= int(text) <= most:
            return int(text)
        raise ValueError(f"must be a whole number from 1 to {most}")

    return read


def _number(low: float, high: float, what: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            if text.isascii() and "_" not in text and low <= float(text) <= high:
                return float(text)
        except ValueError:
            pass
        raise ValueError(f"must be {what} from {low:g} to {high:g}")

    return read


def _one_of(words: Collection[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text in words:
            return text
        raise ValueError(f"must be one of {', '.join(words)}")

    return read


_seconds = _number(0.1, 86400, "a number of seconds")


def _path(text: str) -> Path:
    if text and "\0" not in text:
        return Path(text)
    raise ValueError("must be the path of a file")


def _endpoint(text: str) -> str | None:
    if text and text.isprintable():
        return None if text == "none" else text
    raise ValueError("must be a Twisted endpoint such as tcp:4001:interface=127.0.0.1, or none")


def _url(text: str) -> NodeAddress:
    try:
        return parse_address(text)
    except BadAddress as error:
        raise ValueError(f"must be an http:// or https:// URL ({error})") from None


def _name_server(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        port = 53 if parts.port is None else parts.port
        if parts.netloc == text and "@" not in text and port:
            return str(ip_address(parts.hostname or "")), port
    except ValueError:
        pass
    raise ValueError("must be the IP address of a name server, or that and a port")


def _weight(shape: str, least: float, names: Collection[str] = ()) -> Callable[[str], Any]:
    """A reader of `NAME=WEIGHT`, whose name must be one of `names` if there are any."""
    read_number = _number(least, 1000, f"{shape}, where WEIGHT is a number")

    def read(text: str) -> tuple[str, float]:
        name, _, number = text.rpartition("=")
        if not name or (names and name not in names):
            raise ValueError(f"must be {shape}")
        return name, read_number(number)

    return read


def _read(read: Callable[[str], Any], text: str, source: str) -> Any:
    """
    Read a value that was given by `source`, a flag or an environment variable.

    :raises CannotStart: when it is invalid.
    """
    try:
        return read(text)
    except ValueError as error:
        given = quoted(hide_credentials(text) if "://" in text else text)
        raise CannotStart(f"{source} {error}, not {given}") from None


def _variable(name: str) -> str:
    """The environment variable of an option."""
    return _PREFIX + name.upper().replace("-", "_")


@frozen
class _Option:
    """
    An option with one value.

    :ivar variable: the environment variable that it had in release 1.0.0, if any.
    """

    name: str
    read: Callable[[str], object]
    doc: str
    variable: str | None = None

    @property
    def field(self) -> str:
        """The name of its setting."""
        return self.name.replace("-", "_")

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set it, the first that is not empty."""
        return (_variable(self.name), *([self.variable] if self.variable else ()))

    def row(self) -> list[object]:
        """The option as a row of usage.Options.optParameters."""
        default = getattr(Settings(), self.field)
        variable = f"; environment variable {self.variable}" if self.variable else ""
        end = "" if default is None else f" [default: {shown(default)}]"
        return [self.name, None, None, self.doc + variable + end]


_OPTIONS = (
    _Option("port", _whole_number(65535), "TCP port to serve on, all IPv4 interfaces", "PORT"),
    _Option("ips", _path, "file of node addresses, one a line"),
    _Option(
        "node-explorer",
        _url,
        "URL of a Node Explorer, whose nodes are added to those of the file; the file may then be"
        " missing",
        "API_URL",
    ),
    _Option(
        "resolver",
        _name_server,
        "IP address of a name server, and its port if not 53, to ask for the dns:// and dns+srv://"
        " lines of the file, in place of the system's; SRV targets then become IP addresses",
    ),
    _Option(
        "interval",
        _seconds,
        "seconds from one poll of an idle node to its next, 0.1 to 86400",
        "REFRESH_INTERVAL",
    ),
    _Option(
        "busy-interval",
        _seconds,
        "seconds from one poll of a node with jobs to its next, 0.1 to 86400, and --interval at"
        " most; nodes allow one poll a second",
    ),
    _Option("timeout", _seconds, "seconds a node has for its whole answer to a poll, 0.1 to 86400"),
    _Option(
        "max-polls",
        _whole_number(10_000),
        "polls a second at most, 1 to 10000; with more nodes than that allows, the interval is"
        " longer",
    ),
    _Option(
        "resources-interval",
        _seconds,
        "seconds from one request for a node's resources to the next, 0.1 to 86400",
    ),
    _Option(
        "max-utilization",
        _number(0, 1, "a share"),
        "share of its GPU memory in use, 0 to 1, above which a node is used only if no other node"
        " can do the job; 1 for no limit",
    ),
    _Option(
        "ca-file",
        _path,
        "PEM file of certificate authorities to trust for https:// nodes, in addition to the"
        " system's",
    ),
    _Option(
        "rate-limit",
        _whole_number(MAX_RATE),
        f"requests a minute that each client address may make to each path, 1 to {MAX_RATE};"
        " without it, there is no limit",
        "RATELIMIT_REQS_PER_MIN",
    ),
    _Option(
        "idle-timeout",
        _number(1, 86400, "a number of seconds"),
        "seconds after which an idle client connection is closed, 1 to 86400; more than a load"
        " balancer in front keeps it",
    ),
    _Option(
        "admin",
        _endpoint,
        "Twisted endpoint to serve operators on: status, metrics and probes; none for no such"
        " endpoint",
    ),
    _Option(
        "metrics",
        _endpoint,
        "Twisted endpoint to serve metrics and probes on, and nothing else",
    ),
    _Option(
        "admin-tokens",
        _path,
        "file of the tokens that operators may use, NAME ROLE TOKEN in a line",
    ),
    _Option(
        "state",
        _path,
        "directory to keep the orders of operators in, over restarts, and the audit",
    ),
    _Option(
        "log-format",
        _one_of(FORMATS),
        "format of the log: text, or json with one object in each line",
    ),
    _Option(
        "log-level",
        _one_of(LEVELS),
        "level from which on events are logged: debug, info, warn or error",
    ),
    _Option(
        "linger",
        _number(0, 3600, "a number of seconds"),
        "seconds from SIGTERM, when /readyz begins to answer 503, until connections end, 0 to 3600",
    ),
)

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


class Options(usage.Options):
    """
    The options of `twistd infernet-router`; once parsed, `settings` has their values.

    A flag beats its environment variable INFERNET_ROUTER_NAME, which beats the variable that it had
    in release 1.0.0, which beats the default. An empty variable is ignored.

    :param environ: the environment variables.
    """

    synopsis = "[options]"
    longdesc = (
        "Tells clients of Infernet nodes which node to send a job to. Each option can also be set"
        " by an environment variable: INFERNET_ROUTER_ and its name in capitals, with _ for -, such"
        " as INFERNET_ROUTER_MAX_POLLS; several values of one are separated by blanks, those of"
        " --node-header by line ends."
    )
    optParameters = [option.row() for option in _OPTIONS]

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
        self._add_weight("job-weight", _weight("CONTAINER=WEIGHT", 0.01), text)

    def opt_pending_weight(self, text: str) -> None:
        """cost of a pending job of one kind, such as onchain=0 to 1000, default 1; repeatable"""
        shape = " or ".join(f"{kind}=WEIGHT" for kind in KINDS)
        self._add_weight("pending-weight", _weight(shape, 0, KINDS), text)

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
            raise CannotStart(f"{error}; see twistd infernet-router --help") from None

    def postOptions(self) -> None:
        """Read the options with one value, which are None unless given, and make the settings."""
        if self["port"] is not None and "listen" in self._values:
            raise CannotStart("--port and --listen: give one of them")
        listens = "listen" in self._values or self["port"] is not None
        for name in _REPEATABLE:
            if name.replace("-", "_") not in self._values and not (name == "listen" and listens):
                self._read_variable(name)
        for option in _OPTIONS:
            text, source = self[option.name], f"--{option.name}"
            for variable in option.variables if text is None else ():
                found = self._environ.get(variable, "")
                if text is None and found and not found.startswith(_SERVICE_LINK):
                    text, source = found, variable
            if option.name == "port" and "listen" in self._values:
                if source == _variable("port") and not listens:
                    raise CannotStart(f"{source} and {_variable('listen')}: give one of them")
            elif text is not None:
                self._values[option.field] = _read(option.read, text, source)
        self._values["ips_given"] = "ips" in self._values
        self._values["admin_given"] = self._values.get("admin") is not None
        self._values["admin_token"] = self._token()
        self.settings = Settings(**self._values)

    def _read_variable(self, name: str) -> None:
        """
        Read the environment variable of a repeatable option: its values, divided by blanks, or by
        line ends if the values may have blanks.
        """
        self._variable = _variable(name)
        values = self._environ.get(self._variable, "")
        texts = values.split("\n") if name == "node-header" else values.split()
        for text in filter(str.strip, texts):
            getattr(self, f"opt_{name.replace('-', '_')}")(text)
        self._variable = ""

    def _token(self) -> str | None:
        """The token in the environment, which no message repeats."""
        variable = _variable("admin-token")
        token = self._environ.get(variable, "").strip() or None
        try:
            return token and check_token(token)
        except BadToken as error:
            raise CannotStart(f"{variable}: {error}") from None
