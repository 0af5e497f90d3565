from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grand_pipeline.viewer.pieces import pieces

SPANS = st.lists(
    st.fixed_dictionaries(
        {
            "start": st.integers(-5, 30),
            "end": st.integers(-5, 30),
            "object_ids": st.lists(st.integers(0, 4)),
        }
    )
)


def test_pieces_begin_and_end_with_spans() -> None:
    spans = [
        {"start": 2, "end": 10, "object_ids": [1]},
        {"start": 6, "end": 10, "object_ids": [2, 1]},
    ]
    assert pieces("a \N{GRINNING FACE}ed ball.", spans) == [
        {"text": "a ", "ids": []},
        {"text": "\N{GRINNING FACE}ed ", "ids": [1]},
        {"text": "ball", "ids": [1, 2]},
        {"text": ".", "ids": []},
    ]


@given(st.text(max_size=20), SPANS)
def test_nothing_is_lost_and_nothing_doubled(text: str, spans: list[dict[str, object]]) -> None:
    cut = pieces(text, spans)
    assert "".join(piece["text"] for piece in cut) == text
    assert all(piece["text"] for piece in cut)
