"""Proves networks of other people's code: declare a `Model`, and `prove` it."""
