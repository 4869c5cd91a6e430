"""Replicas: several routers that share one fleet, what they assign to it and what they hear of it."""
