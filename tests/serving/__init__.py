"""Tests of infernet_router.serving."""
