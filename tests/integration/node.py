"""
A simulated node as a program: python node.py INTERFACE PORT KNOBS CONTAINER…

KNOBS is a JSON object of attributes to set on the node. It prints the port it listens on, and runs
until it is killed.
"""

import json
import sys
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.web.server import NOT_DONE_YET, Request, Site

from infernet_router.testing import SimulatedNode

reactor: Any = installed_reactor


class Node(SimulatedNode):
    """A node that may be reachable only with a key."""

    key = ""
    """What X-Key must be; otherwise it closes the connection, or hangs."""
    hangs = False

    def render(self, request: Request) -> Any:
        if self.key and request.getHeader("x-key") != self.key:
            if not self.hangs:
                transport: Any = request.transport
                transport.abortConnection()
            return NOT_DONE_YET
        return super().render(request)


def main(interface: str, port: str, knobs: str, *containers: str) -> None:
    node = Node(reactor, containers)
    for name, value in json.loads(knobs).items():
        setattr(node, name, value)
    listening = reactor.listenTCP(int(port), Site(node), interface=interface)
    print(listening.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
