import pytest

from grand_pipeline.errors import SettingsError
from stages.vlm_options import agreed as read_agreed
from stages.vlm_options import chosen, listed, question

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


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        ("Yes", True),
        ("yes, it does.", True),
        ('"No."', False),
        ("NO", False),
        ("Nothing", None),
        ("I see no car", None),
        ("", None),
    ],
)
def test_yes_and_no_are_read_where_an_answer_begins_so(answer: str, agreed: bool | None) -> None:
    assert read_agreed(answer) is agreed


def test_a_question_is_one_turn() -> None:
    asked = question("feedback/witness", claim="a car")
    assert '"a car"' in asked
    with pytest.raises(SettingsError, match="asked in one turn"):
        question("context/default", graph="g")
