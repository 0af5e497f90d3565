"""A model that sees is asked about claims that the objects contradict or say nothing of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from grand_pipeline import inert
from grand_pipeline.claims import Claim
from grand_pipeline.errors import SettingsError
from stages import vlm, vlm_options, vlm_served
from stages.chat import Answer
from stages.vlm import Question, Remote, Vlm, Writing
from stages.vlm_served import Looking

if TYPE_CHECKING:
    from PIL.Image import Image

YES, NO, UNCLEAR = "yes", "no", "unclear"
UNSEEN = "the picture does not show it"
"""The reason of a claim that the witness denies."""

_ANSWER = Writing(max_new_tokens=8)
_AT_ONCE = 16


@dataclass(frozen=True)
class Witness:
    """A loaded model and the name of the prompt with its question, whose field is `claim`."""

    model: Vlm | Remote
    prompt: str

    def heard(self, image: Callable[[], Image], claims: Sequence[Claim]) -> tuple[Claim, ...]:
        """The claims with what the witness says of those that do not hold for sure.

        What the objects say nothing of holds or fails as the witness says. Where they contradict a
        claim and the witness affirms it, nothing is known. An answer that is neither yes nor no,
        or none, changes nothing. What references point at can not be asked about.
        """
        asked = {c.text for c in claims if not c.holds and c.kind != "reference"}
        words = sorted(asked)
        questions = [
            Question(
                image,
                vlm_options.question(
                    self.prompt, claim=inert.quoted(inert.words(text, inert.TEXT))
                ),
            )
            for text in words
        ]
        answers = vlm.ask_all(self.model, questions, _ANSWER, _AT_ONCE) if questions else []
        said = {text: _said(answer) for text, answer in zip(words, answers, strict=True)}
        return tuple(
            _judged(claim, said[claim.text])
            if not claim.holds and claim.kind != "reference"
            else claim
            for claim in claims
        )


def load(options: Looking, prompt: str, device: str) -> Witness:
    """The witness of the options. Raises SettingsError for one that answers no questions, and for
    a prompt that is more than one question about a claim."""
    vlm_options.question(prompt, claim="")
    live = vlm_served.live(options, device)
    if not live.answers:
        raise SettingsError(
            f"model '{options.model}' (option witness) answers no questions; name a chat model "
            "that sees, such as llava-hf/llava-1.5-7b-hf"
        )
    return Witness(live, prompt)


def _said(answer: Answer) -> str:
    if (fault := vlm.fault(answer)) is not None:
        return f"{UNCLEAR} ({fault})"
    agreed = vlm_options.agreed(answer.text)
    return UNCLEAR if agreed is None else YES if agreed else NO


def _judged(claim: Claim, said: str) -> Claim:
    heard = replace(claim, seen=said)
    if said == YES:
        return replace(heard, holds=True if claim.holds is None else None, reason="")
    if said == NO and claim.holds is None:
        return replace(heard, holds=False, reason=UNSEEN)
    return heard
