"""A simulated node as a process of its own, until it is killed: python node.py PORT CONTAINER…"""

import sys
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.web.server import Site

from infernet_router.testing import SimulatedNode

reactor: Any = installed_reactor


def main(port: str, *containers: str) -> None:
    site = Site(SimulatedNode(reactor, containers))
    listening = reactor.listenTCP(int(port), site, interface="127.0.0.1")
    print(listening.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
