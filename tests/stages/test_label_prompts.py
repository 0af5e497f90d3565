from hypothesis import given
from hypothesis import strategies as st

from stages.label_prompts import CLOSE, MARKS, OPEN, STOP, Prompter, grouped, pieces
from tests.tiny.detectors import grounding_dino, marked_tokenizer

TOKENIZER = marked_tokenizer()
WHOLE = Prompter(TOKENIZER, 62, 80)


def words(ids: tuple[int, ...] | list[int]) -> list[str]:
    found: list[str] = TOKENIZER.convert_ids_to_tokens(list(ids))
    return found


def parts(prompter: Prompter, *labels: str) -> list[list[list[str]]]:
    """Words of every label of every prompt."""
    return [
        [words([prompt.ids[token] for token in part]) for part in prompt.parts]
        for prompt in prompter.of_labels(labels)
    ]


def test_the_prompt_is_what_the_library_makes_of_the_labels() -> None:
    _, processor = grounding_dino()
    labels = ["a Cat", "red car", "sky"]
    (prompt,) = WHOLE.of_labels(labels)
    text = processor._preprocess_input_text([labels])
    assert list(prompt.ids) == processor.tokenizer(text)["input_ids"][0]
    assert parts(WHOLE, *labels) == [[["a", "cat"], ["red", "car"], ["sky"]]]
    assert prompt.numbers == (0, 1, 2)


def test_marks_inside_a_label_do_not_divide_it() -> None:
    assert parts(WHOLE, "a.cat?", "[SEP] dog", "...", "") == [[["a", "cat"], ["dog"], [], []]]
    (prompt,) = WHOLE.of_labels(["...", "cat"])
    assert prompt.ids.count(STOP) == 2


def test_a_long_list_takes_several_prompts_by_tokens_and_by_number() -> None:
    narrow = Prompter(TOKENIZER, 6, 80)
    assert parts(narrow, "a cat", "a dog", "sky") == [[["a", "cat"], ["a", "dog"]], [["sky"]]]
    assert [p.numbers for p in narrow.of_labels(["a cat", "a dog", "sky"])] == [(0, 1), (2,)]
    assert [p.numbers for p in Prompter(TOKENIZER, 62, 1).of_labels(["cat", "dog"])] == [(0,), (1,)]
    assert narrow.of_labels([]) == []


def test_a_label_longer_than_a_prompt_is_cut() -> None:
    narrow = Prompter(TOKENIZER, 4, 80)
    assert parts(narrow, "cat", "a red green blue dog", "sky") == [
        [["cat"]],
        [["a", "red", "green"]],
        [["sky"]],
    ]
    assert all(len(prompt.ids) <= 6 for prompt in narrow.of_labels(["a red green blue dog"]))


def test_labels_are_tokenized_once() -> None:
    prompter = Prompter(TOKENIZER, 62, 80)
    prompter.remember(["cat", "dog", "cat"])
    known = prompter._labels["cat"]
    prompter.of_labels(["cat", "sky"])
    assert prompter._labels["cat"] is known and set(prompter._labels) == {"cat", "dog", "sky"}


CAPTION = "A red cat, a dog. Two people"


def spans(caption: str, *phrases: str) -> list[tuple[int, int]]:
    return [(caption.index(phrase), caption.index(phrase) + len(phrase)) for phrase in phrases]


def phrases_of(prompter: Prompter, caption: str, *phrases: str) -> list[dict[int, list[str]]]:
    """Per prompt: number of the phrase -> its words."""
    return [
        {n: words([p.ids[i] for i in part]) for n, part in zip(p.numbers, p.parts, strict=True)}
        for p in prompter.of_caption(caption, spans(caption, *phrases))
    ]


def test_phrases_are_found_inside_the_whole_caption() -> None:
    (prompt,) = WHOLE.of_caption(CAPTION, spans(CAPTION, "A red cat", "Two people"))
    assert words(prompt.ids) == [
        *("[CLS]", "a", "red", "cat", ",", "a", "dog", ".", "two", "people", ".", "[SEP]")
    ]
    assert phrases_of(WHOLE, CAPTION, "A red cat", "Two people") == [
        {0: ["a", "red", "cat"], 1: ["two", "people"]}
    ]


def test_a_caption_is_closed_by_one_full_stop() -> None:
    for caption in ("a cat", "a cat.", "a cat?"):
        (prompt,) = WHOLE.of_caption(caption, [(0, 5)])
        assert len(prompt.ids) == 5 and prompt.ids[-2] in MARKS


def test_a_long_caption_is_cut_between_sentences_and_keeps_its_phrases() -> None:
    narrow = Prompter(TOKENIZER, 8, 80)
    assert phrases_of(narrow, CAPTION, "A red cat", "a dog", "Two people") == [
        {0: ["a", "red", "cat"], 1: ["a", "dog"]},
        {2: ["two", "people"]},
    ]
    assert phrases_of(narrow, CAPTION, "Two people") == [{0: ["two", "people"]}]


def test_a_long_sentence_is_cut_between_phrases() -> None:
    narrow = Prompter(TOKENIZER, 6, 80)
    text = "a red cat the dog of a tree"
    assert phrases_of(narrow, text, "a red cat", "the dog of", "a tree") == [
        {0: ["a", "red", "cat"]},
        {1: ["the", "dog", "of"], 2: ["a", "tree"]},
    ]
    assert phrases_of(narrow, text, text) == [{0: ["a", "red", "cat", "the", "dog"]}]


def test_a_phrase_without_tokens_has_no_place() -> None:
    assert WHOLE.of_caption("", []) == []
    assert WHOLE.of_caption("a cat.", [(0, 0), (1, 2)]) == []
    assert phrases_of(WHOLE, "a cat. a dog", "cat. a") == [{0: ["cat", "a"]}]


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 20), st.integers(1, 5))
def test_groups_hold_all_labels_and_no_more_than_fits(
    lengths: list[int], room: int, most: int
) -> None:
    sizes = grouped(lengths, room, most)
    assert sum(sizes) == len(lengths) and all(1 <= size <= most for size in sizes)
    rest = list(lengths)
    for size in sizes:
        held, rest = rest[:size], rest[size:]
        assert sum(held) <= room or size == 1


@given(st.data(), st.integers(0, 60), st.integers(1, 12))
def test_pieces_hold_the_row_and_no_more_than_fits(
    data: st.DataObject, tokens: int, room: int
) -> None:
    place = st.integers(0, tokens)
    ends = sorted(data.draw(st.lists(place)))
    phrases = [tuple(sorted(pair)) for pair in data.draw(st.lists(st.tuples(place, place)))]
    found = pieces(tokens, room, ends, phrases)
    assert [found[0][0], *(end for _, end in found)] == [0, *(s for s, _ in found[1:]), tokens]
    assert all(0 < end - start <= room for start, end in found) or tokens == 0


def test_ends_are_ids_of_their_own() -> None:
    (prompt,) = WHOLE.of_labels(["cat"])
    assert (prompt.ids[0], prompt.ids[-1]) == (OPEN, CLOSE)
