"""A live demo: this router and the rule of the public one, with equal fleets and the same jobs."""
