"""Networks of other people's packages, unmodified, each declared in at most three lines."""
