"""Tests of infernet_router.fleet."""
