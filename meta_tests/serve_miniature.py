"""`python -m meta_tests.serve_miniature SECONDS`: the miniature in a process of its own, a run that long."""

from __future__ import annotations

import sys

from meta_tests.miniature_predictor import MiniaturePredictor


def say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    from serving.app import Server
    from serving.limits import Limits
    from serving.server import listening, serve

    predictor = MiniaturePredictor(slow=float(sys.argv[1]))
    serve(Server([predictor], Limits(rate=0)), listening("127.0.0.1", 0), "0", say)
