"""Replicas: several routers that share one fleet, and tell each other what they learn of it."""
