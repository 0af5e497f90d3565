from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.references import Piece, parse


@pytest.mark.parametrize(
    ("answer", "pieces", "clean"),
    [
        ("<p>a car</p>[0].", [("a car", (0,)), (".", None)], True),
        ("<p>two dogs</p>[1][4]", [("two dogs", (1, 4))], True),
        ("<P>two dogs</P> [1, 4]", [("two dogs", (1, 4))], True),
        ("<p>a car</p> here", [("a car", ()), (" here", None)], True),
        ("<p>a car</p>[3][3]", [("a car", (3,))], True),
        ("plain text", [("plain text", None)], True),
        ("a car [0] here", [("a car here", None)], False),
        ("<p>a <p>car</p>[0]</p>[1]", [("a ", None), ("car", (0,))], False),
        ("open <p>a car", [("open a car", None)], False),
        ("done</s>", [("done", None)], False),
        ("x <|im_end|>", [("x ", None)], False),
        ("<p></p>[1]", [], True),
        ("", [], True),
        ("see <people", [("see <people", None)], True),
        ("<<p>p>x[[0]0]", [("x", None)], False),
        ("3 < 4 and [a]", [("3 < 4 and [a]", None)], True),
    ],
)
def test_parse(answer: str, pieces: list[tuple[str, tuple[int, ...] | None]], clean: bool) -> None:
    parsed = parse(answer)
    assert list(parsed.pieces) == [Piece(text, ids) for text, ids in pieces]
    assert parsed.clean is clean


@given(
    st.lists(
        st.sampled_from(["<p>", "</p>", "[0]", "[", "0", "]", "a", "p", "<", ">", "\n"]),
        max_size=12,
    )
)
def test_no_mark_survives(parts: list[str]) -> None:
    parsed = parse("".join(parts))
    for piece in parsed.pieces:
        assert "<p>" not in piece.text
        assert "[0]" not in piece.text
