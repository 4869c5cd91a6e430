"""Replicas: several routers share one fleet: what they assign to it, and what they hear of it."""
