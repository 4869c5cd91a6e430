"""The API: what clients are answered."""
