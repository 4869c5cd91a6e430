"""Benchmarks: they measure, and print, what the documentation claims."""
