"""What helps with the options: --help in groups, and what a misspelt name may mean."""

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Serve clients": {
        "port": "PORT",
        "listen": "ENDPOINT",
        "idle-timeout": "SECONDS",
        "linger": "SECONDS",
        "rate-limit": "REQUESTS",
        "trust-proxy": "NETWORK",
        "cors-origin": "ORIGIN",
    },
    "Find the nodes": {
        "ips": "FILE",
        "wait-for-nodes": "",
        "node-explorer": "URL",
        "resolver": "ADDRESS",
    },
    "Ask the nodes": {
        "interval": "SECONDS",
        "busy-interval": "SECONDS",
        "timeout": "SECONDS",
        "max-polls": "NUMBER",
        "resources-interval": "SECONDS",
        "ca-file": "FILE",
        "node-header": "HEADER",
    },
    "Choose between the nodes": {
        "job-weight": "CONTAINER=WEIGHT",
        "pending-weight": "KIND=WEIGHT",
        "max-utilization": "SHARE",
    },
    "Share the fleet with other routers": {
        "redis": "URL",
        "redis-ca-file": "FILE",
        "redis-prefix": "NAME",
        "reuse-port": "",
    },
    "Operate the router": {
        "admin": "ENDPOINT",
        "admin-tokens": "FILE",
        "state": "DIR",
        "admin-host": "NAME",
        "metrics": "ENDPOINT",
        "log-format": "FORMAT",
        "log-level": "LEVEL",
    },
    "Get help": {"help": "", "version": ""},
}
"""The options, by what one wants to do; each with the word for its value, if it has one."""

_COLUMN = 27
"""Where the description of an option begins."""

_UNKNOWN = re.compile(r"option --?(\S+) not recognized")
_PREFIX = re.compile(r"option --(\S+) not a unique prefix")

_SERVICE_LINK = re.compile(
    r"\w*(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)=.*|\w*PORT=\w+://.*"
)
"""What Kubernetes sets for a service whose name begins with infernet-router, without the prefix."""


def grouped(descriptions: Mapping[str, str], width: int) -> str:
    """
    All options with their descriptions, in groups.

    :param descriptions: what each option does, by its name.
    :param width: characters in a line.
    """
    return "\n".join("\n".join(_group(title, descriptions, width)) + "\n" for title in GROUPS)


def _group(title: str, descriptions: Mapping[str, str], width: int) -> Iterator[str]:
    """The lines of one group."""
    yield f"{title}:"
    margin = " " * _COLUMN
    for name, value in GROUPS[title].items():
        head = f"  --{name}={value}" if value else f"  --{name}"
        lines = textwrap.wrap(
            descriptions[name],
            max(width, 2 * _COLUMN),
            initial_indent=margin,
            subsequent_indent=margin,
            break_on_hyphens=False,
        )
        if len(head) + 2 > _COLUMN:
            yield head
        else:
            lines[0] = head.ljust(_COLUMN) + lines[0].strip()
        yield from lines


def hint(
    error: str, given: Sequence[str], names: Collection[str], of_twistd: Collection[str]
) -> str:
    """
    What the option that getopt does not know may mean; empty if nothing comes near.

    :param error: what getopt said.
    :param given: the command line.
    :param names: the names of the router's options.
    :param of_twistd: the names of twistd's options.
    """
    if prefix := _PREFIX.match(error):
        meant = [f"--{name}" for name in sorted(names) if name.startswith(prefix[1])]
        return f" (did you mean {' or '.join(meant)}?)"
    unknown = _UNKNOWN.match(error)
    if unknown is None:
        return ""
    name = unknown[1].partition("=")[0]
    if len(name) == 1:  # as in -port, which getopt takes for -p, -o, -r and -t
        words = (word for word in given if word.startswith(f"-{name}"))
        name = next(words, name).lstrip("-").partition("=")[0]
    if name in of_twistd:
        return " (it is an option of twistd, which goes before infernet-router)"
    from difflib import get_close_matches  # here, as a good command line does not need it

    near = get_close_matches(name.replace("_", "-").lower(), names, n=1)
    return f" (did you mean --{near[0]}?)" if near else ""


def unknown_variables(
    environ: Mapping[str, str], prefix: str, known: Collection[str]
) -> Iterator[tuple[str, str]]:
    """
    The environment variables that nothing reads: each with what it may mean, which may be empty.

    Empty variables are left out, and those that Kubernetes sets for its services.

    :param prefix: what the names of the router's variables begin with.
    :param known: how the names of those that it reads go on after that.
    """
    for name, value in sorted(environ.items()):
        end = name.removeprefix(prefix)
        if end == name or end in known or not value or _SERVICE_LINK.match(f"{end}={value}"):
            continue
        from difflib import get_close_matches  # here, as a good environment does not need it

        near = get_close_matches(end.upper(), known, n=1)
        yield name, f" (did you mean {prefix}{near[0]}?)" if near else ""
