import pytest

from stages.vlm_options import chosen, listed

PLACES = ("Urban", "Rural", "Natural landscape")


def test_options_have_letters() -> None:
    assert listed(PLACES) == "A. Urban\nB. Rural\nC. Natural landscape"
    with pytest.raises(ValueError, match="27 options"):
        listed(["x"] * 27)


@pytest.mark.parametrize(
    "answer",
    [
        *("B", " b ", "(B)", "B.", "B) Rural", "B. rural.", "Rural", "rural", '"Rural"', "**B**"),
        *("Option B", "Answer: B", "The answer is B.", "The correct answer is (B) Rural"),
        *("The picture shows a rural place.", "B.\n\nIt has fields."),
    ],
)
def test_answers_that_name_one_option(answer: str) -> None:
    assert chosen(answer, PLACES) == 1


@pytest.mark.parametrize(
    "answer",
    [
        *("", "D", "E. Rural", "B. Urban", "Urban or rural", "A or B", "A field", "I do not know"),
        *("suburban", "1", "BB", "natural"),
    ],
)
def test_answers_that_name_none_or_several(answer: str) -> None:
    assert chosen(answer, PLACES) is None


def test_a_name_inside_a_longer_one_does_not_count() -> None:
    options = ("Road", "Road side", "Port and harbor")
    assert chosen("a road side", options) == 1
    assert chosen("Port_and-harbor", options) == 2
