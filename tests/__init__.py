"""Unit tests, one module for each module of the router; `integration` tests real processes."""

from hypothesis import settings

# Every run has the same examples and no deadline, so that only a change can make it fail.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")
