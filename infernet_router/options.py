"""The command line and environment variables, read into one Settings."""

import os
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import Factory, asdict, frozen
from twisted.python import usage

from infernet_router import __version__
from infernet_router.addresses import BadAddress, NodeAddress, hide_credentials, parse_address
from infernet_router.api.clients import Proxy, parse_proxy
from infernet_router.api.cors import parse_origin
from infernet_router.api.rate_limit import MAX_RATE
from infernet_router.nodes.node_headers import BadHeader, NodeHeader, parse_headers
from infernet_router.nodes.polling import MAX_POLLS
from infernet_router.process import unblock_standard_streams
from infernet_router.quoting import quoted
from infernet_router.reports import KINDS


class CannotStart(SystemExit, Exception):
    """
    The router cannot start; the message says why.

    As a SystemExit, it makes Python print the message instead of a traceback and exit with code 1.
    As an Exception, it makes twistd clean up first.
    """

    def __init__(self, why: str) -> None:
        super().__init__("\n".join(f"infernet-router: {line}" for line in why.splitlines()))


_MAIN = ("ips", "interval", "busy_interval", "timeout", "max_polls")
"""The settings that are always shown."""

_HIDDEN = ("port", "listen", "ips_given", "node_header")
"""The settings that are never shown: listening addresses have log lines of their own, and headers
for nodes are secret."""

_UNITS = {
    "interval": " s",
    "busy_interval": " s",
    "timeout": " s",
    "resources_interval": " s",
    "rate_limit": "/min",
    "idle_timeout": " s",
}


@frozen(kw_only=True)
class Settings:
    """A router's configuration. Fields are named like options; `Settings()` has the defaults."""

    port: int = 4000
    listen: tuple[str, ...] = ()
    """Twisted endpoint descriptions to serve on, in place of the port."""
    ips: Path = Path("ips.txt")
    ips_given: bool = False
    """Whether the file was named, so that it must exist even if there is a Node Explorer."""
    node_explorer: NodeAddress | None = None
    resolver: tuple[str, int] | None = None
    """IP address and port of the name server to ask; None for the system's."""
    interval: float = 3.0
    busy_interval: float = 1.1
    timeout: float = 3.0
    max_polls: int = MAX_POLLS
    resources_interval: float = 60.0
    max_utilization: float = 1.0
    ca_file: Path | None = None
    node_header: tuple[NodeHeader, ...] = ()
    """Headers of each request to a node."""
    rate_limit: int | None = None
    """Requests a minute for each client and path; None for no limit."""
    idle_timeout: float = 75.0
    job_weight: Mapping[str, float] = Factory(dict)
    pending_weight: Mapping[str, float] = Factory(dict)
    trust_proxy: tuple[Proxy, ...] = ()
    cors_origin: tuple[str, ...] = ()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Descriptions of the Twisted endpoints to serve on."""
        return self.listen or (f"tcp:{self.port}",)

    def __str__(self) -> str:
        """The main values, and those that differ from the default, on one printable line."""
        defaults = Settings()
        text = ", ".join(
            f"{name.replace('_', '-')} {_shown(value)}{_UNITS.get(name, '')}"
            for name, value in asdict(self, recurse=False).items()
            if name in _MAIN or (name not in _HIDDEN and value != getattr(defaults, name))
        )
        return text if text.isprintable() else quoted(text)


def _shown(value: object) -> str:
    """A setting's value, as in a help text or the log."""
    match value:
        case float():
            return f"{value:g}"
        case (str(host), int(port)):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case tuple():
            return " ".join(map(str, value))
        case Mapping():
            return " ".join(f"{name}={weight:g}" for name, weight in value.items())
        case _:
            return str(value)


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


_seconds = _number(0.1, 86400, "a number of seconds")


def _path(text: str) -> Path:
    if text and "\0" not in text:
        return Path(text)
    raise ValueError("must be the path of a file")


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
        shown = quoted(hide_credentials(text) if "://" in text else text)
        raise CannotStart(f"{source} {error}, not {shown}") from None


@frozen
class _Option:
    """An option with one value, which an environment variable may set too."""

    name: str
    read: Callable[[str], object]
    doc: str
    variable: str | None = None

    @property
    def field(self) -> str:
        """The name of its setting."""
        return self.name.replace("-", "_")

    def row(self) -> list[object]:
        """The option as a row of usage.Options.optParameters."""
        default = getattr(Settings(), self.field)
        variable = f"; environment variable {self.variable}" if self.variable else ""
        shown = "" if default is None else f" [default: {_shown(default)}]"
        return [self.name, None, None, self.doc + variable + shown]


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
        "INFERNET_ROUTER_IDLE_TIMEOUT",
    ),
)


_NODE_HEADER = "INFERNET_ROUTER_NODE_HEADER"


class Options(usage.Options):
    """
    The options of `twistd infernet-router`; once parsed, `settings` has their values.

    A flag beats its environment variable, which beats the default. An empty variable is ignored.

    :param environ: the environment variables.
    """

    synopsis = "[options]"
    longdesc = "Tells clients of Infernet nodes which node to send a job to."
    optParameters = [option.row() for option in _OPTIONS]

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environ = environ
        self._values: dict[str, Any] = {}
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
        self._append("trust_proxy", _read(parse_proxy, text, "--trust-proxy"))

    def opt_cors_origin(self, text: str) -> None:
        """allow pages of this origin, such as https://app.example.org, or * for all; repeatable"""
        self._append("cors_origin", _read(parse_origin, text, "--cors-origin"))

    def opt_node_header(self, text: str) -> None:
        """send this header, NAME: VALUE, or those in @FILE, to all nodes; repeatable; environment
        variable INFERNET_ROUTER_NODE_HEADER"""
        self._add_headers(text, "--node-header")

    def opt_version(self) -> None:
        """Display the router's version and exit."""
        print(f"infernet-router {__version__}")
        raise SystemExit(0)

    def _append(self, field: str, value: object) -> None:
        """Add one value of a repeatable option."""
        self._values[field] = (*self._values.get(field, ()), value)

    def _add_headers(self, text: str, source: str) -> None:
        """Add headers for nodes. An error does not show the text, which may be a secret."""
        try:
            headers = parse_headers(text)
        except BadHeader as error:
            raise CannotStart(f"{source}: {error}") from None
        self._values["node_header"] = (*self._values.get("node_header", ()), *headers)

    def _add_weight(self, option: str, read: Callable[[str], Any], text: str) -> None:
        """Add one weight of a repeatable option; each name may be given once."""
        name, weight = _read(read, text, f"--{option}")
        weights = self._values.setdefault(option.replace("-", "_"), {})
        if name in weights:
            raise CannotStart(f"--{option} names {quoted(name)} twice")
        weights[name] = weight

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
        self._values["ips_given"] = self["ips"] is not None
        if "node_header" not in self._values:
            for line in filter(str.strip, self._environ.get(_NODE_HEADER, "").split("\n")):
                self._add_headers(line, _NODE_HEADER)
        for option in _OPTIONS:
            text, source = self[option.name], f"--{option.name}"
            if option.name == "port" and "listen" in self._values:
                if text is not None:
                    raise CannotStart("--port and --listen: give one of them")
                continue
            if text is None and option.variable:
                text, source = self._environ.get(option.variable) or None, option.variable
            if text is not None:
                self._values[option.field] = _read(option.read, text, source)
        self.settings = Settings(**self._values)
