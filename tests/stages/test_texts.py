import pytest

from stages.texts import check_template, distinct, fill, plain, tidy


def test_labels_read_as_words() -> None:
    assert plain("traffic_light ") == "traffic light"


@pytest.mark.parametrize(
    ("template", "words", "text"),
    [
        ("a photo of a {}", ("dog",), "a photo of a dog"),
        ("a photo of a {}", ("umbrella",), "a photo of an umbrella"),
        ("A {} {}", ("orange", "fire_hydrant"), "An orange fire hydrant"),
        ("{}", ("the cat",), "the cat"),
    ],
)
def test_template_is_filled_with_the_right_article(
    template: str, words: tuple[str, ...], text: str
) -> None:
    assert fill(template, *words) == text


@pytest.mark.parametrize("template", ["no place", "{} {}", "{0}", "{name}", "{"])
def test_template_with_other_places_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="must hold"):
        check_template(template, 1)


def test_words_that_read_the_same_are_kept_once() -> None:
    assert distinct(["Hot_dog", "hot dog", "", "cat", " "]) == ("Hot_dog", "cat")


def test_text_is_composed_and_has_single_blanks() -> None:
    assert tidy("  cafe\u0301 \n two ") == "caf\u00e9 two"
