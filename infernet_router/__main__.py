"""
The `infernet-router` command, and `python -m infernet_router`: a router in the foreground.

The same as `twistd --nodaemon --pidfile= infernet-router`: the same options, messages and exit
codes. It loads this one plugin itself, where twistd searches for plugins and caches what it found.
"""

import sys
from collections.abc import Sequence
from typing import Any

from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]

from twisted.plugins.infernet_router_plugin import infernet_router


class _Twistd(ServerOptions):
    """The command line of a twistd whose only plugin is the router."""

    synopsis = "Usage:"  # --help of a subcommand puts this before the subcommand's name

    @property
    def subCommands(self) -> Any:
        # Twisted's own searches all packages for plugins.
        self.loadedPlugins = {infernet_router.tapname: infernet_router}
        return [(infernet_router.tapname, None, infernet_router.options, "")]


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a router until a signal stops it.

    :param arguments: the router's options, by default those of the command line.
    """
    options = _Twistd()
    given = sys.argv[1:] if arguments is None else arguments
    options.parseOptions(["--nodaemon", "--pidfile=", infernet_router.tapname, *given])
    runApp(options)


if __name__ == "__main__":
    main()
