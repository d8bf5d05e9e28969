"""Captures networks of users' own code as exported programs."""
