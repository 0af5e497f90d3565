"""Drafts are checked and revised until their claims hold or the rounds are used up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

import prompts
from grand_pipeline.columns import (
    ASSIGNED,
    ATTRIBUTES,
    GROUNDED_CAPTIONS,
    INSTANCES,
    PLACEMENTS,
    RELATIONS,
    SCENE_GRAPH,
)
from grand_pipeline.generation import Generation, Review
from grand_pipeline.record import Record
from grand_pipeline.types import AssignedLabel, Attribute, Caption, Instance, Placement, Relation
from prompts import Message
from stages import feedback
from stages.chat import GREEDY, STOP, Answer, Decoding, Effort
from stages.witness import Witness
from tests.records import record_of
from tests.tiny.chats import Parrot

VALUES: dict[Any, Any] = {
    INSTANCES: (
        Instance(0, "object", "thing", (0, 0, 9, 9), 0.5, "automobile"),
        Instance(1, "object", "thing", (20, 0, 29, 9), 0.5, "dog"),
        Instance(2, "object", "stuff", (0, 0, 99, 99), 0.5, "grass"),
    ),
    ASSIGNED: (AssignedLabel(0, "Cars", 1.0),),
    ATTRIBUTES.of("siglip"): (Attribute(0, "siglip", "red"),),
    PLACEMENTS: (Placement(0, 0.75, "Foreground", 0),),
    RELATIONS: (Relation(1, "right of", 0, "caption"),),
    GROUNDED_CAPTIONS: (Caption("blip", "a kite", ()),),
    SCENE_GRAPH: "Foreground:\n- group 0: [0] car (red); [1] dog",
}
RECORD: Record = record_of(VALUES)
BAD, GOOD = "A blue car and a lamp stand here.", "A red car stands here."


@dataclass(frozen=True)
class Scripted(Parrot):
    """Answers question after question with the next of its answers; notes questions and seeds."""

    script: Sequence[str] = ()
    turns: list[str] = field(default_factory=list)
    seeds: list[int | None] = field(default_factory=list)

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = GREEDY,
    ) -> list[Answer]:
        given = []
        for chat in chats:
            given.append(Answer(self.script[len(self.turns)], STOP))
            self.turns.append(chat[-1]["content"])
            self.seeds.append(decoding.seed)
        return given


def revised(draft: str, *script: str, rounds: int = 3) -> tuple[Generation, Scripted]:
    model = Scripted(script=script)
    reviser = feedback.Reviser(model, prompts.load("feedback/default"), Effort(50))
    (found,) = reviser.revised([Generation("p", draft, "m", STOP)], [RECORD], rounds)
    return found, model


def test_columns_become_what_is_known() -> None:
    known = feedback.known(RECORD)
    assert [(t.label, t.attributes, t.depth, t.stuff) for t in known.things] == [
        ("car", ("red",), 0.75, False),
        ("dog", (), None, False),
        ("grass", (), None, True),
    ]
    assert known.relations == {(0, "left of", 1)}
    assert (known.size, known.said) == ((100, 100), ("a kite",))


def test_a_draft_that_holds_is_not_asked_about() -> None:
    found, model = revised(GOOD)
    assert found == Generation(
        "p", GOOD, "m", STOP, review=Review(0, 2, 0, (), (), (), verified=True)
    )
    assert model.turns == []


def test_a_draft_without_claims_is_not_verified() -> None:
    found, _ = revised("Something is here.")
    assert found.review == Review(0, 0, 0, (), (), (), verified=False)


def test_failed_claims_are_named_and_mended() -> None:
    found, model = revised(BAD, GOOD)
    faults = ('"A blue car": [0] car is red', '"a lamp": there is no lamp among the objects')
    assert found.answer == GOOD
    assert found.review == Review(1, 2, 0, (), faults, (BAD,), verified=True)
    (turn,) = model.turns
    assert turn == (
        f"Scene graph:\n{VALUES[SCENE_GRAPH]}\n\nCaption:\n{BAD}\n\n"
        f"Faults:\n- {faults[0]}\n- {faults[1]}"
    )
    assert turn in found.prompt


def test_rounds_end() -> None:
    half = "A red car and a lamp stand here."
    found, model = revised(BAD, half, rounds=1)
    assert (found.answer, len(model.turns)) == (half, 1)
    assert found.review is not None and not found.review.verified
    assert found.review.failed == ('"a lamp": there is no lamp among the objects',)
    found, model = revised(BAD, half, GOOD, rounds=2)
    assert found.review is not None
    assert (found.review.rounds, found.review.drafts) == (2, (BAD, half))


def test_a_revision_that_is_none_is_refused_and_another_seed_tried() -> None:
    worse = "A blue car, a lamp and a chair stand here."
    found, model = revised(BAD, BAD, worse, GOOD)
    assert (found.answer, model.seeds) == (GOOD, [None, 1, 2])
    assert found.seed == 2
    assert found.review is not None
    assert (found.review.rounds, found.review.drafts) == (3, (BAD,))


def test_a_revision_that_gives_up_more_than_it_mends_is_refused() -> None:
    draft = "A red car left of a dog on the grass, and a lamp."
    found, _ = revised(draft, "A dog is here.", "Sorry, no.", "", rounds=1)
    assert found.answer == draft


def test_unusable_revisions_leave_the_draft() -> None:
    found, _ = revised(BAD, "", "Sorry, I can not.", "", rounds=3)
    assert (found.answer, found.finish_reason) == (BAD, STOP)


def test_only_failing_drafts_of_a_batch_are_asked_about() -> None:
    model = Scripted(script=[GOOD])
    reviser = feedback.Reviser(model, prompts.load("feedback/default"), Effort(50))
    drafts = [Generation("p", text, "m", STOP) for text in (GOOD, BAD, "A dog.")]
    found = reviser.revised(drafts, [RECORD] * 3, 2)
    assert [one.answer for one in found] == [GOOD, GOOD, "A dog."]
    assert len(model.turns) == 1


@dataclass(frozen=True)
class Eyes:
    """Says yes to questions with one of these words in them, no to others, or what it is told."""

    sees: tuple[str, ...] = ()
    says: str = ""
    asked: list[str] = field(default_factory=list)
    answers: bool = True

    def ask(self, images: Sequence[Any], prompts: Sequence[str | None], writing: Any) -> list[str]:
        told = [str(prompt) for prompt in prompts]
        self.asked.extend(told)
        assert all(image is PICTURE for image in images)
        return [
            self.says or ("Yes." if any(w in text for w in self.sees) else "No, it does not.")
            for text in told
        ]


PICTURE = Image.new("RGB", (4, 4))


def witnessed(eyes: Eyes, *script: str, draft: str) -> tuple[Generation, Scripted]:
    model = Scripted(script=script)
    seeing = Witness(eyes, "feedback/witness")
    reviser = feedback.Reviser(model, prompts.load("feedback/default"), Effort(50), witness=seeing)
    record = replace(RECORD, open_image=lambda: PICTURE)
    (found,) = reviser.revised([Generation("p", draft, "m", STOP)], [record], len(script))
    return found, model


def test_a_witness_is_asked_about_what_objects_do_not_confirm_and_nothing_else() -> None:
    eyes = Eyes()
    witnessed(eyes, draft="A blue car stands here. <p>A lamp</p>[7] too. There is a wall.")
    claims = [text.partition('"')[2].partition('"')[0] for text in eyes.asked]
    assert claims == ["A blue car", "a wall"]
    assert eyes.asked[0] == (
        'Look at the picture. Somebody says of it: "A blue car".\n'
        "Does the picture show that? Answer with yes or no."
    )


def test_what_the_witness_denies_fails_and_is_mended() -> None:
    found, model = witnessed(Eyes(), GOOD, draft=f"{GOOD} A wall is there.")
    assert '- "A wall": the picture does not show it' in model.turns[0]
    assert found.answer == GOOD
    assert found.review is not None and found.review.verified
    assert found.review.mended == ('"A wall": the picture does not show it',)


def test_what_the_witness_affirms_is_left_alone() -> None:
    found, model = witnessed(Eyes(sees=("blue", "wall")), draft="A blue car and a wall.")
    assert model.turns == []
    assert found.review is not None
    # The wall is known of by the witness alone; object and witness disagree about the car.
    assert (found.review.failed, found.review.unchecked, found.review.verified) == ((), 1, True)
    assert found.review.seen == ('"A blue car": yes', '"a wall": yes')


def test_an_answer_that_is_neither_changes_nothing() -> None:
    found, _ = witnessed(Eyes(says="Perhaps."), draft="A blue car and a wall.")
    assert found.review is not None
    assert found.review.failed == ('"A blue car": [0] car is red',)
    assert found.review.unchecked == 1
    assert found.review.seen == ('"A blue car": unclear', '"a wall": unclear')


def test_a_draft_whose_claims_all_hold_needs_no_witness() -> None:
    eyes = Eyes()
    found, _ = witnessed(eyes, draft=GOOD)
    assert eyes.asked == []
    assert found.review is not None and found.review.seen == ()
