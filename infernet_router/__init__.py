"""A router that tells clients which Infernet node to send their job to."""

__version__ = "2.0.0.dev0"
