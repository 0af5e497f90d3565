"""When a request is worth another try, and how long to wait before it. Pure functions."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")

RETRIED: frozenset[int] = frozenset({408, 409, 429})
"""HTTP statuses below 500 after which the same request can succeed."""


@dataclass(frozen=True)
class Backoff:
    """Waits that double from `first` seconds up to `longest`, each shortened at random by up to
    a half, so that requests that failed together do not come back together.

    A server that names a time (`Retry-After`) is not asked earlier, up to `patience` seconds.
    """

    retries: int = 8
    first: float = 0.5
    longest: float = 30.0
    patience: float = 300.0

    def wait(self, attempt: int, key: str, asked: float | None = None) -> float:
        """Seconds before attempt `attempt` + 1, counted from 0. The same `key` waits the same."""
        full = min(self.longest, self.first * 2.0**attempt)
        own = full * (1 - 0.5 * random.Random(f"{key}:{attempt}").random())
        return max(own, min(asked or 0.0, self.patience))


def worth_another(status: int) -> bool:
    """Whether a request answered with this HTTP status may succeed when sent again."""
    return status in RETRIED or status >= 500


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number, or an HTTP date compared with
    `now` (seconds since 1970). None where there is no header, or none that can be read."""
    if value is None:
        return None
    if _NUMBER.fullmatch(value.strip()):
        return max(0.0, float(value))
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
