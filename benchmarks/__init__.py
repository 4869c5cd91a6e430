"""Benchmarks that measure and print the figures in the documentation."""
