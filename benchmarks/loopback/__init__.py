"""Parts of the benchmarks over loopback: programs, a fleet of nodes, and load on a server."""
