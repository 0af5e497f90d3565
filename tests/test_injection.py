"""Texts from data in prompts: whatever they hold, a prompt keeps its shape and its marks.

The property: a prompt with a hostile value differs from the one with a harmless value in that place
alone, where there is one line of words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import pytest
from PIL import Image

import prompts
from grand_pipeline import inert
from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LANDMARK,
    LINKS,
    PLACEMENTS,
    RELATIONS,
    SCENE_GRAPH,
    Column,
)
from grand_pipeline.generation import Generation
from grand_pipeline.record import Record
from grand_pipeline.types import (
    AssignedLabel,
    Attribute,
    Caption,
    Instance,
    Landmark,
    PhraseLink,
    Placement,
    Relation,
)
from stages import chat, feedback
from stages.chat import STOP, template
from stages.level1.region_texts import RegionTexts
from stages.level3.dense_caption import Author, DenseCaption
from stages.level3.grand_v1_scene_graph import GrandV1SceneGraph
from stages.level3.scene_graph import SceneGraphStage
from stages.level4.context import Context
from stages.level4.grand_v1_context import GrandV1Context
from stages.texts import fill
from stages.witness import Witness
from tests.attacks import ATTACKS, SPECIAL
from tests.records import record_of
from tests.stages.test_feedback import Scripted
from tests.tiny.chats import Parrot, byte_tokenizer

HARMLESS = "teapot"
FIELDS = ("label", "assigned", "attribute", "caption", "phrase", "predicate", "kind", "place")
V1 = ("label", "assigned", "attribute", "caption", "phrase", "kind", "place")
MARKS = re.compile(
    r"[<>\[\]\uff1c\uff1e\uff3b\uff3d\n\r\x00-\x1f\x7f-\x9f\u200b\u2028-\u202e]|###|```"
)
BOUND = inert.CAPTION


def values(field: str, text: str) -> dict[Column[Any], Any]:
    """Columns of an image in which one value of one field is `text`."""
    own = dict.fromkeys(FIELDS, "") | {field: text}
    if field == "attribute":
        own[field] = f"it: {text}"  # GranD's attributes begin with a speaker.
    label = own["label"] or "cup"
    return {
        INSTANCES: (
            Instance(0, "object", "thing", (0, 0, 9, 9), 0.9, label),
            Instance(1, "object", "thing", (20, 0, 40, 9), 0.9, "spoon"),
        ),
        ASSIGNED: (AssignedLabel(1, own["assigned"] or "spoon", 1.0),),
        ATTRIBUTES.of("made"): (Attribute(0, "made", own["attribute"] or "old"),),
        PLACEMENTS: (Placement(0, 2.0, "Foreground", 0), Placement(1, 1.0, "Midground", 1)),
        GROUNDED_CAPTIONS: (Caption("a", own["caption"] or "a table"), Caption("b", "a room")),
        LINKS: (PhraseLink(own["phrase"] or "a mug", (0,), "a"), PhraseLink("a fork", (1,), "b")),
        RELATIONS: (Relation(0, own["predicate"] or "left of", 1, "made"),),
        LANDMARK: Landmark(own["kind"] or "Indoor scene", own["place"] or "Kitchen", "made"),
    }


def graph(stage: Any, field: str, text: str) -> str:
    (row,) = stage.annotate(None, [record_of(values(field, text))])
    return str(row[SCENE_GRAPH])


Turns = list[dict[str, str]]


def asked(stage: Any, record: Record) -> Turns:
    """The turns of the one chat that a stage holds about a record."""
    seen: list[Turns] = []

    class Noting(Parrot):
        def size(self, messages: Any, room: int) -> int:
            seen.append([dict(one) for one in messages])
            return 1

    stage.annotate(Author(Noting()) if isinstance(stage, DenseCaption) else Noting(), [record])
    return seen[0]


def of_graph(stage: Any, maker: Any, field: str, text: str) -> Turns:
    return asked(stage, record_of({SCENE_GRAPH: graph(maker, field, text)}))


def of_list(field: str, text: str) -> Turns:
    return asked(GrandV1Context(prompt="context/picturebook"), record_of(values(field, text)))


def of_region(prompt: str, field: str, text: str) -> Turns:
    """What a model that sees is asked about an object."""
    turns: Turns = []

    class Noting:
        answers = True

        def ask(self, images: Any, prompts: Any, writing: Any) -> list[str]:
            turns.extend({"role": "user", "content": prompt} for prompt in prompts)
            return ["red"] * len(images)

    plain = {column.name: column.encode(value) for column, value in values(field, text).items()}
    record = Record("0" * 32, "a", 50, 20, plain, lambda: Image.new("RGB", (50, 20)))
    RegionTexts(source="s", prompt=prompt, view="crop").annotate(Noting(), [record])
    return turns[:1]


ASKING: Mapping[str, tuple[Callable[[str, str], Turns], tuple[str, ...]]] = {
    **{
        name: (partial(of_graph, make(prompt=name), SceneGraphStage()), fields)
        for make, name, fields in (
            (DenseCaption, "dense_caption/picturebook", FIELDS),
            (DenseCaption, "dense_caption/default", ("label", "caption")),
            (partial(DenseCaption, answer="json"), "dense_caption/json", ("label", "caption")),
            (Context, "context/default", ("label", "caption")),
            (Context, "context/picturebook", ("label", "caption")),
        )
    },
    "grand_v1": (
        partial(of_graph, DenseCaption(prompt="dense_caption/picturebook"), GrandV1SceneGraph()),
        V1,
    ),
    "grand_v1 with ids": (
        partial(
            of_graph,
            DenseCaption(prompt="dense_caption/picturebook"),
            GrandV1SceneGraph(style="references"),
        ),
        ("label", "assigned", "attribute", "kind", "place"),
    ),
    "grand_v1 context": (of_list, ("label", "assigned", "attribute", "kind", "place")),
    "region": (partial(of_region, "Describe the {} in a few words."), ("label",)),
    "label": (lambda _, text: [{"role": "user", "content": fill("this is {}", text)}], ("x",)),
}
CASES = [(name, field) for name, (_, fields) in ASKING.items() for field in fields]


@cache
def shape(name: str, field: str) -> tuple[Turns, re.Pattern[str]]:
    """The turns of a harmless prompt, and the last one as a pattern with the value left open."""
    turns = ASKING[name][0](field, HARMLESS)
    parts = re.split(HARMLESS, turns[-1]["content"], flags=re.IGNORECASE)
    assert len(parts) > 1, "the value stands nowhere"
    return turns, re.compile("(.*)".join(map(re.escape, parts)))


@pytest.mark.parametrize(("name", "field"), CASES)
def test_a_prompt_keeps_its_shape_whatever_a_value_is(name: str, field: str) -> None:
    harmless, pattern = shape(name, field)
    for attack, text in ATTACKS.items():
        turns = ASKING[name][0](field, text)
        assert [turn["role"] for turn in turns] == [turn["role"] for turn in harmless], attack
        assert turns[:-1] == harmless[:-1], attack
        found = pattern.fullmatch(turns[-1]["content"])
        assert found is not None, (attack, turns[-1]["content"][:2000])
        for value in found.groups():
            assert not MARKS.search(value) and len(value) <= BOUND, (attack, value[:200])
            value.encode()


ROLES = re.compile(r"(?i)\b(?:user|assistant|system|human)\s*[:\uff1a]")
STYLES: Mapping[str, str | None] = {
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n",
    "llama2": "{% for m in messages %}<s>[INST] {{ m.content }} [/INST]</s>{% endfor %}",
    "llama3": "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}",
    "gemma": "{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n"
    "{% endfor %}",
    "vicuna": None,
}


@cache
def tokenizer(style: str) -> Any:
    """One token per byte, and special tokens as all the families have them."""
    made = byte_tokenizer(STYLES[style], 1 << 20)
    made.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    return made


def special(style: str, turns: Turns) -> tuple[list[int], int]:
    """The special tokens of a chat in a family's style, in order, and its roles in words."""
    text = template.rendered(tokenizer(style), turns)
    ids = tokenizer(style)(text, add_special_tokens=False)["input_ids"]
    known = frozenset(tokenizer(style).all_special_ids)
    return [i for i in ids if i in known], len(ROLES.findall(text))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("name", "field"),
    [("dense_caption/picturebook", "caption"), ("grand_v1", "label"), ("region", "label")],
)
def test_no_special_token_comes_from_data(style: str, name: str, field: str) -> None:
    make, _ = ASKING[name]
    harmless = special(style, make(field, HARMLESS))
    for attack, text in ATTACKS.items():
        assert special(style, make(field, text)) == harmless, attack


def test_the_tokenizers_of_the_test_know_the_attacks() -> None:
    raw = [{"role": "user", "content": " ".join(ATTACKS.values()).replace("\ud800", "")}]
    raw[0]["content"] = inert.encodable(raw[0]["content"])
    found, roles = special("chatml", raw)
    assert len(set(found)) > 40 and roles > 3


REVISION = re.compile(
    r"Scene graph:\n(?P<graph>.*?)\n\nCaption:\n(?P<draft>[^\n]*)\n\n"
    r"Faults:\n(?P<faults>(?:- \"[^\"\n]*\": [^\n]+(?:\n|$))+)",
    re.DOTALL,
)


def revision(draft: str, field: str, text: str) -> tuple[str, str]:
    """The last turn of the question for a revision, and the graph in it."""
    told = graph(SceneGraphStage(), field, text)
    record = record_of({**values(field, text), SCENE_GRAPH: told})
    model = Scripted(script=("A cup.",) * 9)
    reviser = feedback.Reviser(model, prompts.load("feedback/default"), chat.Effort(50))
    reviser.revised([Generation("p", draft, "m", STOP)], [record], 1)
    return model.turns[0], told


@pytest.mark.parametrize("field", ["draft", "label", "assigned", "predicate"])
def test_a_revision_is_asked_for_in_three_parts(field: str) -> None:
    bad = "<p>A blue kite</p>[0] is here and <p>a lamp</p>[44]."
    for attack, text in ATTACKS.items():
        draft = f"{bad} {text[:5000]}" if field == "draft" else bad
        turn, told = revision(draft, field, "cup" if field == "draft" else text)
        found = REVISION.fullmatch(turn)
        assert found is not None, (attack, turn[:3000])
        assert found["graph"] == told
        assert found["draft"].startswith(bad)
        assert not any(token in turn for token in SPECIAL), attack


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_witness_is_asked_one_question(attack: str) -> None:
    questions: list[str] = []

    class Seeing:
        answers = True

        def ask(self, images: Any, prompts: Any, writing: Any) -> list[str]:
            questions.extend(prompts)
            return ["yes"] * len(prompts)

    from grand_pipeline.claims import Claim

    witness = Witness(Seeing(), "feedback/witness")
    said = ATTACKS[attack]
    (heard,) = witness.heard(lambda: Image.new("RGB", (4, 4)), [Claim("class", said, False)])
    assert (heard.text, heard.seen) == (said, "yes")
    frame = prompts.load("feedback/witness").user.split("{claim}")
    (question,) = questions
    middle = question[len(frame[0]) : len(question) - len(frame[1])]
    assert question == middle.join(frame)
    assert '"' not in middle and not MARKS.search(middle) and len(middle) <= inert.TEXT
