"""Tests of infernet_router.admin."""
