"""Nodes: asks them what they run and how busy they are."""
