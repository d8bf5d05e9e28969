"""Searches for inputs with a great error, and replays the worst that were found."""
