"""
Simulated Infernet nodes, for tests, demos and benchmarks of routers and clients.

As a program, it serves a fleet on loopback addresses, and prints the list of nodes for a router:

    python -m infernet_router.testing --nodes 12 --speeds 0.5,2 --port 5001 > ips.txt

`SimulatedNode` is a twisted.web resource that implements the part of a node's HTTP API that routers
and clients use. Serve it with `serve`, or pass it to treq.testing.StubTreq:

    node = SimulatedNode(reactor, ["llm"], speed=2.0, slots=4)
    [served] = serve(reactor, [node], loopback_hosts(1))

Its behaviour is set by attributes, which may be changed while it runs.
"""

from infernet_router.testing.fleet import ServedNode, loopback_hosts, serve
from infernet_router.testing.node import SimulatedContainer, SimulatedJob, SimulatedNode

__all__ = [
    "ServedNode",
    "SimulatedContainer",
    "SimulatedJob",
    "SimulatedNode",
    "loopback_hosts",
    "serve",
]
