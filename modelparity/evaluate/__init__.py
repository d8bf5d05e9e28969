"""Evaluates networks and files on labelled data sets."""
