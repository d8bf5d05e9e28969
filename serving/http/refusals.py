"""The errors that refuse a request, with a status, a word for the counters and a line for the client."""

from __future__ import annotations

from collections.abc import Mapping


class RefusalError(Exception):
    """Ends a request with `status`; `reason` is one of a fixed set of words, `words` are for the client.

    Neither contains anything of the upload.
    """

    def __init__(
        self, status: int, reason: str, words: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(words)
        self.status, self.reason, self.words = status, reason, words
        self.headers = dict(headers or {})


def busy(reason: str, words: str, retry_after_s: int = 1) -> RefusalError:
    return RefusalError(429, reason, words, {"Retry-After": str(retry_after_s)})


def draining() -> RefusalError:
    headers = {"Retry-After": "1", "Connection": "close"}
    return RefusalError(503, "draining", "the server is being stopped; ask another one", headers)


def unsupported(words: str) -> RefusalError:
    return RefusalError(415, "format", words)


def too_large(reason: str, words: str) -> RefusalError:
    return RefusalError(413, reason, words)


def unreadable(reason: str, words: str) -> RefusalError:
    return RefusalError(422, reason, words)
