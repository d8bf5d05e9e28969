"""What a model file is: read, describe, compare, edit and cut files, one folder a format.

Arrives: a path. Leaves: what the file says of itself, its graph as arrays and edges, its activations, a copy
with one change. Knows nothing of how a file was made or judged; may import `fixtures` and nothing else.
"""

if __name__ != "modelparity.modelfiles":
    raise ImportError("this package is modelparity.modelfiles: import it under that name")
