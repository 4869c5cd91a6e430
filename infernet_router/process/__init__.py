"""The process: its descriptors, garbage collection and signals."""
