"""The HTTP server for a released file."""
