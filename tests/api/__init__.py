"""Tests of infernet_router.api."""
