"""Tests of infernet_router.process."""
