"""Replicas: several routers that share one fleet through Redis. Nothing is imported before it is used."""
