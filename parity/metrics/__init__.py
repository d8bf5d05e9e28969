"""Computes errors, detection matches, task metrics and their confidence intervals; judges nothing."""
