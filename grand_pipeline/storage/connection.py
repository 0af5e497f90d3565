"""The way to a bucket: which store, for how long it is asked, and what is said when it fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any

from grand_pipeline.errors import MissingDependencyError, StorageError

SECONDS = 60.0
"""How long a request is tried again, and how long one may take."""
BRIEF_SECONDS = 10.0
"""The same before any work begins, when somebody waits for the answer."""
_LETTERS = 300
_ADDRESS = re.compile(r"https?://[\w.\[\]:-]+/?")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


@dataclass(frozen=True, order=True)
class Bucket:
    """A bucket by its URL, such as `s3://name`."""

    url: str
    given: Any = field(default=None, compare=False, repr=False)
    """An opened store of obstore; None for the one that the environment configures."""

    def store(self, seconds: float = SECONDS) -> Any:
        """The store behind it. Raises MissingDependencyError, and StorageError after a fork."""
        if self.given is not None:
            return self.given
        process, store = _opened(self.url, seconds)
        if process != os.getpid():
            raise StorageError(f"'{self.url}' was opened before this process was forked off")
        return store


@contextmanager
def asking(bucket: Bucket, about: object, seconds: float = SECONDS) -> Iterator[tuple[Any, Any]]:
    """The library and the store for a request about a place in a bucket.

    Raises StorageError with what, where and what to do for whatever the store refuses or leaves
    unanswered; that an object is not there remains FileNotFoundError.
    """
    store = bucket.store(seconds)
    import obstore
    from obstore import exceptions

    try:
        yield obstore, store
    except exceptions.BaseError as error:
        raise StorageError(told(about, error)) from error


def told(about: object, error: Exception) -> str:
    """What a store has refused or left unanswered, where, and what to do."""
    code = _CODE.search(str(error))
    said = str(error).partition("\n\nDebug")[0].partition(": <?xml")[0]
    said = " ".join(said.split())[:_LETTERS] + (f" ({code[1]})" if code else "")
    if code and code[1] == "NoSuchBucket":
        remedy = "make the bucket, or name another"
    elif type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        remedy = (
            "the credentials need s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject "
            "there (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)"
        )
    else:
        remedy = (
            "see that the store is there (AWS_ENDPOINT_URL, AWS_REGION) and that it knows the "
            "credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of this machine)"
        )
    return f"the store of '{about}' can not do what was asked: {said}; {remedy}, and run it again"


@lru_cache
def _opened(url: str, seconds: float) -> tuple[int, Any]:
    """The process that has opened the store, and the store."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise MissingDependencyError(
            f"a run at '{url}' needs a package that is not installed: "
            "pip install 'grand-pipeline[s3]'"
        ) from None
    endpoints = {name: os.environ[name] for name in _ENDPOINTS if os.environ.get(name)}
    for name, address in endpoints.items():
        if not _ADDRESS.match(address):  # The library would not survive it.
            raise StorageError(f"{name} is '{address}', and no address such as https://host:port")
    brief = seconds < SECONDS
    store = from_url(
        url,
        client_options={
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": "5s",
            # Whoever names an endpoint without TLS means it.
            "allow_http": any(address.startswith("http:") for address in endpoints.values()),
        },
        retry_config={
            "max_retries": 1 if brief else 10,
            "retry_timeout": timedelta(seconds=seconds),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    )
    return os.getpid(), store
