"""What is measured over loopback: a fleet of nodes, the router in front of it, and load on that."""
