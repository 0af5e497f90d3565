from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from prompts import Example, Message, Prompt
from stages import chat
from stages.chat import Answer, Decoding, Effort
from tests.tiny.chats import Parrot

PROMPT = Prompt("t", "Be short.", "{graph}", (Example((("graph", "G"),), "A"),))
GRAPH = "Foreground:\n- group 0: [0] cat\nCaptions:\n- cats on mats\n- cats in mats"


def test_the_stored_prompt_is_what_the_model_read() -> None:
    parrot = Parrot()
    (told,) = chat.describe(parrot, PROMPT, [GRAPH], 5, "parrot")
    assert parrot.asked == [told.prompt]
    assert told.prompt.startswith("system: Be short.\nuser: G\nassistant: A\nuser: Foreground:")
    assert (told.answer, told.source, told.finish_reason) == ("- cats in mats", "parrot", "stop")


@pytest.mark.parametrize(
    ("words", "last"),
    [(23, "- cats in mats"), (22, "- cats on mats"), (18, "- group 0: [0] cat"), (8, "")],
)
def test_a_long_graph_loses_whole_lines_just_as_many_as_needed(words: int, last: str) -> None:
    parrot = Parrot(context_length=words + 5)
    (told,) = chat.describe(parrot, PROMPT, [GRAPH], 5, "parrot")
    assert parrot.count(told.prompt) <= words
    assert told.answer == last


def test_a_prompt_that_can_not_fit_is_not_asked_and_stops_nobody_else() -> None:
    parrot = Parrot(context_length=12)
    long = "one line that nothing can shorten at all"
    told = chat.describe(parrot, PROMPT, ["short", long, "brief"], 3, "parrot")
    assert [t.answer for t in told] == ["short", "", "brief"]
    assert [t.finish_reason for t in told] == ["stop", "too long", "stop"]
    assert long in told[1].prompt and len(parrot.asked) == 2


@dataclass(frozen=True)
class Moody(Parrot):
    """Answers the n-th request for a question with the n-th of its answers, the last one for
    ever; remembers how it was asked."""

    moods: Mapping[str, Sequence[Answer]] = field(default_factory=dict)
    how: list[tuple[str, int, Decoding]] = field(default_factory=list)

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = chat.GREEDY,
    ) -> list[Answer]:
        return [self._one(messages[-1]["content"], max_new_tokens, decoding) for messages in chats]

    def _one(self, question: str, budget: int, decoding: Decoding) -> Answer:
        times = sum(asked == question for asked, _, _ in self.how)
        self.how.append((question, budget, decoding))
        moods = self.moods.get(question, (Answer("It is a cat.", chat.STOP),))
        return moods[min(times, len(moods) - 1)]


CUT, GOOD = Answer("It is a", chat.LENGTH), Answer("It is a cat.", chat.STOP)


def test_a_truncated_answer_is_asked_for_again_with_twice_the_budget() -> None:
    moody = Moody(moods={"a": [CUT, CUT, GOOD]})
    told = chat.describe(moody, PROMPT, ["a", "b"], Effort(10, attempts=3), "m")
    assert [(t.answer, t.finish_reason, t.attempts, t.seed) for t in told] == [
        ("It is a cat.", "stop", ("length", "length"), None),
        ("It is a cat.", "stop", (), None),
    ]
    assert [(q, budget) for q, budget, _ in moody.how] == [
        ("a", 10),
        ("b", 10),
        ("a", 20),
        ("a", 40),
    ]


def test_the_budget_ends_where_the_context_does_and_then_a_seed_is_tried() -> None:
    moody = Moody(context_length=25, moods={"a": [CUT]})
    (told,) = chat.describe(moody, PROMPT, ["a"], Effort(10, attempts=4), "m")
    size = moody.size([{"role": "user", "content": told.prompt}], 0) - 1
    assert [budget for _, budget, _ in moody.how] == [10, 25 - size, 25 - size, 25 - size]
    assert [d.seed for _, _, d in moody.how] == [None, None, 1, 2]
    assert (told.answer, told.finish_reason, told.seed) == ("It is a", "length", 2)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Answer("", chat.STOP), "empty"),
        (Answer("", "filtered"), "filtered"),
        (Answer("I'm sorry, but I can't help with that.", chat.STOP), "refused"),
        (Answer("a cat on a mat in a hat " * 9, chat.LENGTH), "repeated"),
        (
            Answer("Eine Katze liegt auf der Matte. " * 2 + "Sie schläft.", chat.STOP),
            "wrong language",
        ),
    ],
)
def test_a_bad_answer_is_asked_for_again_with_a_seed_that_is_recorded(
    bad: Answer, reason: str
) -> None:
    moody = Moody(moods={"a": [bad, bad, GOOD]})
    (told,) = chat.describe(moody, PROMPT, ["a"], Effort(10, 3, temperature=0.5), "m")
    assert (told.answer, told.finish_reason) == ("It is a cat.", "stop")
    assert (told.attempts, told.seed) == ((reason, reason), 2)
    assert [d for _, _, d in moody.how] == [chat.GREEDY, Decoding(0.5, 1), Decoding(0.5, 2)]


def test_what_stays_bad_is_kept_with_its_reason() -> None:
    moody = Moody(moods={"a": [Answer("Sorry, no.", chat.STOP)]})
    told = chat.describe(moody, PROMPT, ["a", "b"], Effort(10, 2), "m")
    assert [(t.answer, t.finish_reason) for t in told] == [
        ("Sorry, no.", "refused"),
        ("It is a cat.", "stop"),
    ]


def test_an_error_is_not_asked_again_here() -> None:
    moody = Moody(moods={"a": [Answer("", "HTTP 500 (no)")]})
    (told,) = chat.describe(moody, PROMPT, ["a"], Effort(10, 3), "m")
    assert (told.finish_reason, len(moody.how)) == ("HTTP 500 (no)", 1)


def test_further_fields_are_filled_for_each_graph() -> None:
    parrot = Parrot()
    prompt = Prompt("t", "", "{graph}\n{more}", ())
    told = chat.hold(
        parrot,
        (
            chat.asking(parrot, prompt, graph, Effort(5), "p", {"more": more})
            for graph, more in (("a", "x"), ("b", "y"))
        ),
    )
    assert [t.answer for t in told] == ["x", "y"]
