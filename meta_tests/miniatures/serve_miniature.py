"""Serves the miniature in a process of its own; each run takes SECONDS.

`python -m meta_tests.miniatures.serve_miniature SECONDS`
"""

from __future__ import annotations

import sys

from meta_tests.miniatures.miniature_predictor import MiniaturePredictor


def say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    from modelparity.serving.http.app import Server
    from modelparity.serving.http.limits import Limits
    from modelparity.serving.http.server import listening, serve

    predictor = MiniaturePredictor(slow=float(sys.argv[1]))
    serve(Server([predictor], Limits(rate=0)), listening("127.0.0.1", 0), "0", say)
