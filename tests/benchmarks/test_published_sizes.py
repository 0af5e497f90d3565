from __future__ import annotations

import pytest

from benchmarks.published_sizes import count, table
from grand_pipeline.errors import UserError

SMALL = "ustc-community/dfine-small-coco"


def test_a_named_model_is_counted_and_shown() -> None:
    counts = count([SMALL])
    assert list(counts) == [SMALL]
    assert 9e6 < counts[SMALL] < 12e6
    assert table(counts).splitlines()[1].split() == [SMALL, "10,309,605", "0.04"]


def test_a_model_that_nobody_builds_is_an_error_with_the_names_that_are_known() -> None:
    with pytest.raises(UserError, match=f"nothing builds 'dfine'.*{SMALL}"):
        count(["dfine"])
