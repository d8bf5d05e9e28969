"""The error for what the user can correct: one line, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BadInputError(Exception):
    """The message is one line that says what to do."""


def nearest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean a, b?" for a mistyped word, or all that is known if nothing is near."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}?" if close else f"; known: {', '.join(known)}"
