"""Finds the layer at which a file diverges from its network, and what each stage adds to the error."""
