"""The tests: one module for each of the router's, and integration for what only sockets show."""

from hypothesis import settings

# The same examples in every run, however busy the machine: a run fails for a change or not at all.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
