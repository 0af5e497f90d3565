from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from grand_pipeline import fields
from grand_pipeline.errors import SettingsError


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate can not be below 0")


@dataclass(frozen=True)
class Outer:
    name: str
    sizes: tuple[int, int] = (1, 2)
    inner: Inner = field(default_factory=Inner)


def test_tables_and_arrays_take_the_declared_types() -> None:
    found = fields.build(Outer, {"name": "a", "sizes": [3, 4], "inner": {"rate": 2}}, "here")
    assert found == Outer("a", (3, 4), Inner(2.0))
    assert isinstance(found.inner.rate, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "here needs a value for option 'name'"),
        ({"name": "a", "size": [3, 4]}, r"here has no option 'size'\. Did you mean 'sizes'\?"),
        ({"name": "a", "sizes": [3]}, "option 'sizes' of here takes 2 values, not 1"),
        ({"name": "a", "inner": {"rate": True}}, "'rate' of option 'inner' of here must be float"),
        ({"name": "a", "inner": {"rate": -1}}, "option 'inner' of here: rate can not be below 0"),
    ],
)
def test_mistakes_say_where(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        fields.build(Outer, values, "here")


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("[1, 'a']", [1, "a"]), ("true", True), ("org/model", "org/model")],
)
def test_a_value_is_toml_or_text(text: str, value: object) -> None:
    assert fields.toml_value(text) == value
