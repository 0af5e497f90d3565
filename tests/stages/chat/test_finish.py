from __future__ import annotations

import pytest

import prompts
from stages.chat import finish
from stages.chat.interface import LENGTH, STOP, Answer

GOOD = (
    "A red car stands on the road.",
    "<p>A red car</p>[0] on <p>the road</p>[4], left of <p>another car</p>[2].",
    "Nothing is known about this picture.",
    '{"caption": "a dog", "mentions": [{"phrase": "a dog", "objects": [0]}]}',
    "I see a sorry-looking dog. It can not move.",
    "Dog.",
)


@pytest.mark.parametrize("text", GOOD)
def test_ordinary_answers_pass(text: str) -> None:
    assert finish.reason(text) is None
    assert finish.judged(Answer(text, STOP)) == Answer(text, STOP)


@pytest.mark.parametrize("name", prompts.available())
def test_the_answers_that_prompts_show_pass(name: str) -> None:
    for example in prompts.load(name).examples:
        assert finish.reason(example.answer) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n[0] 12 ...", "empty"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("I\u2019m unable to describe this.", "refused"),
        ("Sorry, no.", "refused"),
        ("As an AI language model, I do not see pictures.", "refused"),
        ("Unfortunately, I cannot describe people.", "refused"),
        ("I must decline.", "refused"),
        ("A dog. " + "There is a red ball on the green grass. " * 4, "repeated"),
        ("red " * 40, "repeated"),
        ("Im Vordergrund sieht man ein rotes Auto in der Sonne, daneben Tiere.", "wrong language"),
        ("Au premier plan, on voit une voiture rouge sur la route et un chien.", "wrong language"),
        ("Op de voorgrond is een rode auto in het midden van de weg te zien.", "wrong language"),
        ("\u4e00\u53ea\u72d7\u5750\u5728\u8349\u5730\u4e0a\u3002", "wrong language"),
    ],
)
def test_what_is_wrong_is_named(text: str, reason: str) -> None:
    assert finish.reason(text) == reason
    assert finish.judged(Answer(text, STOP)) == Answer(text, reason)


def test_three_alike_sentences_are_no_loop() -> None:
    assert finish.reason("There is a red ball on the green grass. " * 3) is None


def test_a_cut_answer_stays_cut_unless_it_loops() -> None:
    assert finish.judged(Answer("Eine Katze", LENGTH)).finish_reason == LENGTH
    assert finish.judged(Answer("a red ball " * 30, LENGTH)).finish_reason == "repeated"


def test_reasons_of_the_backend_stay() -> None:
    for reason in ("HTTP 500", "filtered", "too long"):
        assert finish.judged(Answer("", reason)) == Answer("", reason)
