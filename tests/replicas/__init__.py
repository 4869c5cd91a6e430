"""Tests of infernet_router.replicas."""
