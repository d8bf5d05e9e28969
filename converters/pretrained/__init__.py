"""Writes clean weights: a training checkpoint without what only training needs."""
