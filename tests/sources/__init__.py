"""Tests of infernet_router.sources."""
