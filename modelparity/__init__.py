"""The command line and what ties the rooms together; with `conftest.py` the only one to know them all."""
