"""Whether a float file has the network's structure: the same operators and weights, in the same places."""
