from __future__ import annotations

import pytest

from stages.chat.retry import Backoff, retry_after, worth_another

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_statuses_that_can_pass(status: int) -> None:
    assert worth_another(status)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_statuses_that_can_not(status: int) -> None:
    assert not worth_another(status)


def test_waits_double_up_to_a_limit_and_differ_by_request() -> None:
    backoff = Backoff(first=1.0, longest=10.0)
    waits = [backoff.wait(n, "a") for n in range(6)]
    full = [1, 2, 4, 8, 10, 10]
    assert all(top / 2 <= wait <= top for wait, top in zip(waits, full, strict=True))
    assert waits == [backoff.wait(n, "a") for n in range(6)]
    assert waits != [backoff.wait(n, "b") for n in range(6)]


def test_the_server_may_ask_for_more_patience_but_not_for_ever() -> None:
    backoff = Backoff(first=1.0, patience=60.0)
    assert backoff.wait(0, "a", 7.0) == 7.0
    assert backoff.wait(0, "a", 0.0) == backoff.wait(0, "a")
    assert backoff.wait(0, "a", 1e9) == 60.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("2.5", 2.5),
        ("-4", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds
