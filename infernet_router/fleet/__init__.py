"""The fleet: what is known of every node, and which is best now; the pure core."""
