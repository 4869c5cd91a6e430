"""The options that have one value: what each is called, how it is read, and its help."""

from collections.abc import Callable

from attrs import frozen

from infernet_router.api.rate_limit import MAX_RATE
from infernet_router.option_values import (
    endpoint,
    name_server,
    number,
    one_of,
    path,
    prefix,
    redis,
    seconds,
    url,
    whole_number,
)
from infernet_router.process import FORMATS, LEVELS
from infernet_router.settings import Settings, shown

PREFIX = "INFERNET_ROUTER_"
"""What the name of every environment variable begins with, but for those of release 1.0.0."""


def variable_of(name: str) -> str:
    """The environment variable of the option of this name."""
    return PREFIX + name.upper().replace("-", "_")


@frozen
class Option:
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
        return (variable_of(self.name), *([self.variable] if self.variable else ()))

    def row(self) -> list[object]:
        """The option as a row of usage.Options.optParameters."""
        default = getattr(Settings(), self.field)
        variable = f"; environment variable {self.variable}" if self.variable else ""
        end = "" if default is None else f" [default: {shown(default)}]"
        return [self.name, None, None, self.doc + variable + end]


OPTIONS = (
    Option("port", whole_number(65535), "TCP port to serve on, all IPv4 interfaces", "PORT"),
    Option("ips", path, "file of node addresses, one a line"),
    Option(
        "node-explorer",
        url,
        "URL of a Node Explorer, whose nodes are added to those of the file; the file may then be"
        " missing",
        "API_URL",
    ),
    Option(
        "resolver",
        name_server,
        "IP address of a name server, and its port if not 53, to ask for the dns:// and dns+srv://"
        " lines of the file, in place of the system's; SRV targets then become IP addresses",
    ),
    Option(
        "interval",
        seconds,
        "seconds from one poll of an idle node to its next, 0.1 to 86400",
        "REFRESH_INTERVAL",
    ),
    Option(
        "busy-interval",
        seconds,
        "seconds from one poll of a node with jobs to its next, 0.1 to 86400, and --interval at"
        " most; nodes allow one poll a second",
    ),
    Option("timeout", seconds, "seconds a node has for its whole answer to a poll, 0.1 to 86400"),
    Option(
        "max-polls",
        whole_number(10_000),
        "polls a second at most, 1 to 10000; with more nodes than that allows, the interval is"
        " longer",
    ),
    Option(
        "resources-interval",
        seconds,
        "seconds from one request for a node's resources to the next, 0.1 to 86400",
    ),
    Option(
        "max-utilization",
        number(0, 1, "a share"),
        "share of its GPU memory in use, 0 to 1, above which a node is used only if no other node"
        " can do the job; 1 for no limit",
    ),
    Option(
        "ca-file",
        path,
        "PEM file of certificate authorities to trust for https:// nodes, in addition to the"
        " system's",
    ),
    Option(
        "rate-limit",
        whole_number(MAX_RATE),
        f"requests a minute that each client address may make to each path, 1 to {MAX_RATE};"
        " without it, there is no limit",
        "RATELIMIT_REQS_PER_MIN",
    ),
    Option(
        "idle-timeout",
        number(1, 86400, "a number of seconds"),
        "seconds after which an idle client connection is closed, 1 to 86400; more than a load"
        " balancer in front keeps it",
    ),
    Option(
        "admin",
        endpoint,
        "Twisted endpoint to serve operators on: status, metrics and probes; none for no such"
        " endpoint",
    ),
    Option(
        "metrics",
        endpoint,
        "Twisted endpoint to serve metrics and probes on, and nothing else",
    ),
    Option(
        "admin-tokens",
        path,
        "file of the tokens that operators may use, NAME ROLE TOKEN in a line;"
        " INFERNET_ROUTER_ADMIN_TOKEN in the environment is the token of one more operator",
    ),
    Option(
        "state",
        path,
        "directory to keep the orders of operators in, over restarts, and the audit",
    ),
    Option(
        "log-format",
        one_of(FORMATS),
        "format of the log: text, or json with one object in each line",
    ),
    Option(
        "log-level",
        one_of(LEVELS),
        "level from which on events are logged: debug, info, warn or error",
    ),
    Option(
        "linger",
        number(0, 3600, "a number of seconds"),
        "seconds from SIGTERM, when /readyz begins to answer 503, until connections end, 0 to 3600",
    ),
    Option(
        "redis",
        redis,
        "URL of the Redis through which routers share one fleet, redis://, rediss:// or unix://;"
        " put it in INFERNET_ROUTER_REDIS if it has a password",
    ),
    Option(
        "redis-ca-file",
        path,
        "PEM file of certificate authorities to trust for rediss://, in addition to the system's",
    ),
    Option(
        "redis-prefix",
        prefix,
        "what the names of the channel and the key in Redis begin with; routers with the same one"
        " share",
    ),
)

FLAGS = {
    "wait-for-nodes": "start even if the file of addresses is missing, empty or bad, and wait until"
    " it is good; without this option, the router then exits",
    "reuse-port": "let several routers listen on one port, one for each core (SO_REUSEPORT)",
}
"""The options without a value, each with its help. In an environment variable, it is yes or no."""
