"""A simulated world, in which routing policies are compared."""
