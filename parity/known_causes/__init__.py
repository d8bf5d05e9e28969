"""Explains a wrong file by a mistake that is known: the change that would make it right."""
