"""The twistd plugin's options and service: the one place that joins the parts."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.python import usage
from twisted.web.resource import Resource

from infernet_router import __version__
from infernet_router.address_file import AddressFile
from infernet_router.addresses import BadAddress, NodeAddress, parse_address
from infernet_router.api import Api
from infernet_router.asked import AskedSource
from infernet_router.connections import NodeConnections, http_client
from infernet_router.cors import CrossOrigin, parse_origin
from infernet_router.descriptors import raise_limit
from infernet_router.dns import DnsWatcher, dns_resolver
from infernet_router.explorer import ask_explorer
from infernet_router.fleet import Fleet
from infernet_router.freezing import Freezer
from infernet_router.hangup import HangupListener
from infernet_router.joining import BadSource, Sources
from infernet_router.limiting import MAX_RATE, Clients, RateLimited, parse_proxy
from infernet_router.load import Weights
from infernet_router.models import Surveyor
from infernet_router.names import HostnameResolver
from infernet_router.polling import MAX_POLLS, Poller
from infernet_router.quoting import quoted
from infernet_router.reports import KINDS
from infernet_router.resources import Resources
from infernet_router.serving import CannotServe, ClosableSite, Server
from infernet_router.tls import BadCertificates

_POLLS_A_QUESTION = 10
"""Polls for each time that a node is asked for its resources, when there are many nodes."""


class CannotStart(SystemExit, Exception):
    """
    The router cannot start; the message says why.

    Python ends with it, with exit code 1 and the message on standard error instead of a
    traceback. That it is an Exception too makes twistd tidy up first.
    """

    def __init__(self, why: str) -> None:
        super().__init__("\n".join(f"infernet-router: {line}" for line in why.splitlines()))


def _whole_number(text: str, most: int) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= most:
        return int(text)
    raise ValueError(f"must be a whole number from 1 to {most}")


def _port(text: str) -> int:
    return _whole_number(text, 65535)


def _polls(text: str) -> int:
    return _whole_number(text, 10_000)


def _rate(text: str) -> int:
    return _whole_number(text, MAX_RATE)


def _number(text: str, low: float, high: float, what: str = "a number") -> float:
    try:
        if text.isascii() and "_" not in text and low <= float(text) <= high:
            return float(text)
    except ValueError:
        pass
    raise ValueError(f"must be {what} from {low:g} to {high:g}")


def _seconds(text: str) -> float:
    return _number(text, 0.1, 86400, "a number of seconds")


def _share(text: str) -> float:
    return _number(text, 0, 1, "a share")


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


@frozen
class _Parameter:
    """One option that takes a value, and the environment variable that may set it."""

    name: str
    default: str | None
    read: Callable[[str], object]
    doc: str
    variable: str | None = None

    def row(self) -> list[object]:
        """The option as a row of usage.Options.optParameters."""
        instead = f"; environment variable {self.variable}" if self.variable else ""
        default = f" [default: {self.default}]" if self.default else ""
        return [self.name, None, None, self.doc + instead + default]


_PARAMETERS = (
    _Parameter("port", "4000", _port, "TCP port to serve on, all IPv4 interfaces", "PORT"),
    _Parameter("ips", "ips.txt", _path, "file of node addresses, one a line"),
    _Parameter(
        "node-explorer",
        None,
        _url,
        "URL of a Node Explorer, whose nodes are added to those of the file; the file may then be"
        " missing",
        "API_URL",
    ),
    _Parameter(
        "resolver",
        None,
        _name_server,
        "IP address of a name server, and its port if not 53, to ask for the dns:// lines of the"
        " file, in place of the system's",
    ),
    _Parameter(
        "interval",
        "3",
        _seconds,
        "seconds from one poll of a node to its next, 0.1 to 86400",
        "REFRESH_INTERVAL",
    ),
    _Parameter(
        "timeout", "3", _seconds, "seconds a node has for its whole answer to a poll, 0.1 to 86400"
    ),
    _Parameter(
        "max-polls",
        str(MAX_POLLS),
        _polls,
        "polls a second, 1 to 10000, at most; when the nodes are too many for that, the interval is"
        " longer, and clients do not wait",
    ),
    _Parameter(
        "resources-interval",
        "60",
        _seconds,
        "seconds from one question to a node for its resources to the next, 0.1 to 86400",
    ),
    _Parameter(
        "max-utilization",
        "1",
        _share,
        "share of its GPU memory in use, 0 to 1, over which a node is left out while another can do"
        " the job; 1 leaves none out",
    ),
    _Parameter(
        "ca-file",
        None,
        _path,
        "PEM file of certificate authorities to trust for https:// nodes, in addition to the"
        " system's",
    ),
    _Parameter(
        "rate-limit",
        None,
        _rate,
        f"requests a minute that are answered to a client address for each path, 1 to {MAX_RATE};"
        " without it, all are",
        "RATELIMIT_REQS_PER_MIN",
    ),
)


class Options(usage.Options):
    """
    The options of `twistd infernet-router`.

    A flag beats its environment variable, which beats the default; an empty variable counts
    as none.

    :param environ: the environment variables.
    """

    synopsis = "[options]"
    longdesc = "Tells clients of Infernet nodes which node to send a job to."
    optParameters = [parameter.row() for parameter in _PARAMETERS]

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self["listen"] = []
        self["job-weight"] = {}
        self["pending-weight"] = {}
        self["trust-proxy"] = []
        self["cors-origin"] = []
        self._environ = environ

    def opt_listen(self, description: str) -> None:
        """serve on this Twisted endpoint, such as tcp6:4000, in place of --port; repeatable"""
        self["listen"].append(description)

    def opt_job_weight(self, text: str) -> None:
        """cost of a job for one container, CONTAINER=0.01 to 1000, 1 if not named; repeatable"""
        self._add_weight("job-weight", text, "CONTAINER=WEIGHT", least=0.01)

    def opt_pending_weight(self, text: str) -> None:
        """jobs that a pending one of a kind counts for, onchain=0 to 1000, say, or 1; repeatable"""
        shape = " or ".join(f"{kind}=WEIGHT" for kind in KINDS)
        self._add_weight("pending-weight", text, shape, least=0.0, names=KINDS)

    def _add_weight(
        self, option: str, text: str, shape: str, least: float, names: Iterable[str] = ()
    ) -> None:
        """Read a weight; its name must be one of `names`, if there are any."""
        name, _, number = text.rpartition("=")
        if name in self[option]:
            raise CannotStart(f"--{option} names {quoted(name)} twice")
        try:
            if not name or (names and name not in names):
                raise ValueError(f"must be {shape}")
            weight = _number(number, least, 1000, f"{shape}, where WEIGHT is a number")
        except ValueError as error:
            raise CannotStart(f"--{option} {error}, not {quoted(text)}") from None
        self[option][name] = weight

    def opt_trust_proxy(self, text: str) -> None:
        """believe X-Forwarded-For from this IP address, network, or unix sockets; repeatable"""
        self._add("trust-proxy", text, parse_proxy)

    def opt_cors_origin(self, text: str) -> None:
        """let pages of this origin, https://app.example.org, say, or * for all, ask; repeatable"""
        self._add("cors-origin", text, parse_origin)

    def _add(self, option: str, text: str, read: Callable[[str], object]) -> None:
        """Read one value of an option that may have several."""
        try:
            self[option].append(read(text))
        except ValueError as error:
            raise CannotStart(f"--{option} {error}, not {quoted(text)}") from None

    def opt_version(self) -> None:
        """Display the router's version and exit."""
        print(f"infernet-router {__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: list[str] | None = None) -> None:
        """
        Read the command line.

        :raises CannotStart: when there is something wrong with it, or with a variable.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise CannotStart(f"{error}; see twistd infernet-router --help") from None

    def postOptions(self) -> None:
        """Read each value. Before, an option that was not given is None."""
        self.ips_given = self["ips"] is not None
        for parameter in _PARAMETERS:
            text, named = self[parameter.name], f"--{parameter.name}"
            if parameter.name == "port" and self["listen"]:
                if text is not None:
                    raise CannotStart("--port and --listen: give one of them")
                continue
            if text is None and parameter.variable:
                text, named = self._environ.get(parameter.variable) or None, parameter.variable
            if text is None:
                text = parameter.default
            if text is None:
                continue
            try:
                self[parameter.name] = parameter.read(text)
            except ValueError as error:
                raise CannotStart(f"{named} {error}, not {quoted(text)}") from None


class _Router(MultiService):
    """The running router."""

    def __init__(self, pool: NodeConnections) -> None:
        super().__init__()
        self._pool = pool

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except CannotServe as error:
            raise CannotStart(str(error)) from None

    def stopService(self) -> Deferred[Any]:
        stopped: Deferred[Any] = super().stopService()
        stopped.addCallback(lambda _: self._pool.closeCachedConnections())
        return stopped


def makeService(options: Options, reactor: Any = None) -> IService:
    """
    The router as these options describe it.

    :raises CannotStart: when it cannot be made.
    """
    if reactor is None:
        from twisted.internet import reactor
    weights = Weights(options["job-weight"], options["pending-weight"])
    fleet = Fleet(monotonic, Random(), weights, options["max-utilization"])
    limits = raise_limit()
    reactor.installNameResolver(HostnameResolver(reactor, threads=limits.lookups))
    pool = NodeConnections(reactor, most_kept=limits.kept)
    endpoints = options["listen"] or [f"tcp:{options['port']}"]
    router = _Router(pool)
    sources = Sources(fleet)
    names = DnsWatcher(sources, partial(dns_resolver, reactor, options["resolver"]), reactor)
    explorer = options["node-explorer"]
    try:
        ips = AddressFile(
            options["ips"],
            sources,
            names.watch,
            reactor,
            may_be_missing=explorer is not None and not options.ips_given,
        )
        http = http_client(reactor, pool, options["ca-file"])
        resources = Resources(
            fleet,
            http,
            reactor,
            Random(),
            options["resources-interval"],
            options["max-polls"] / _POLLS_A_QUESTION,
            limits.resources,
        )
        surveyor = Surveyor(fleet, http, reactor, limits.models)
        api: Resource = Api(fleet, resources, surveyor)
        if options["rate-limit"] is not None:
            clients = Clients(options["trust-proxy"])
            api = RateLimited(api, options["rate-limit"], clients, monotonic)
        if options["cors-origin"]:
            api = CrossOrigin(api, options["cors-origin"])
        server = Server(ClosableSite(api, reactor, limits.clients), endpoints, reactor)
    except (BadSource, BadCertificates, CannotServe) as error:
        raise CannotStart(str(error)) from None
    ips.setServiceParent(router)
    names.setServiceParent(router)
    HangupListener(reactor, ips.read_again).setServiceParent(router)
    if explorer is not None:
        ask = partial(ask_explorer, http, explorer, reactor)
        AskedSource(explorer, ask, sources, reactor).setServiceParent(router)
    poller = Poller(
        fleet,
        http,
        reactor,
        options["interval"],
        options["timeout"],
        options["max-polls"],
        limits.polls,
    )
    for service in (poller, resources, surveyor, server, Freezer(fleet)):
        service.setServiceParent(router)
    return router
