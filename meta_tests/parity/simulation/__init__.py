"""Tests of the simulated rounding, by kind of layer."""
