from __future__ import annotations

from stages import chat
from stages.chat import memory
from stages.chat.memory import Remembering
from tests.tiny.chats import Parrot


def turn(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_batch_taken_again_one_by_one_is_not_asked_again() -> None:
    parrot = Parrot()
    model = Remembering(parrot)
    both = model.complete([turn("a"), turn("b")], 5)
    assert [*model.complete([turn("a")], 5), *model.complete([turn("b")], 5)] == both
    assert len(parrot.asked) == 2


def test_another_question_or_way_of_asking_is_asked() -> None:
    parrot = Parrot()
    model = Remembering(parrot)
    model.complete([turn("a"), turn("b")], 5)
    model.complete([turn("c")], 5)
    model.complete([turn("a")], 6)
    model.complete([turn("a")], 5, chat.Decoding(0.5, 1))
    assert len(parrot.asked) == 5


def test_a_batch_is_always_asked_again() -> None:
    parrot = Parrot()
    model = Remembering(parrot)
    for _ in range(2):
        model.complete([turn("a"), turn("b")], 5)
        model.complete([turn("c")], 5)
    assert len(parrot.asked) == 5


def test_memory_is_limited() -> None:
    model = Remembering(Parrot())
    model.complete([turn(str(n)) for n in range(memory.REMEMBERED + 9)], 5)
    assert len(model.answers) == memory.REMEMBERED


def test_all_else_is_the_model_s() -> None:
    model = Remembering(Parrot(context_length=7))
    assert (model.context_length, model.prompt(turn("a b")), model.size(turn("a b"), 0)) == (
        7,
        "user: a b",
        3,
    )
