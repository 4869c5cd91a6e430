"""Tests of infernet_router.ctl."""
