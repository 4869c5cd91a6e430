"""Tests of infernet_router.nodes."""
