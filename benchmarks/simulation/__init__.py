"""A discrete-event simulation that compares routing policies."""
