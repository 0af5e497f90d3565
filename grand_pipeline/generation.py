"""What a language model was asked, what it said, and how that fared when it was checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Review:
    """How a text fared when its claims were checked and it was revised.

    `rounds` counts the revisions asked for; `drafts` are the texts that were given up, verbatim.
    `claims` is how many claims the last text makes, `unchecked` how many of them nothing is known
    about, `failed` those that do not hold, each with its reason; `mended` are those of earlier
    drafts that failed and are gone. `verified`: some claims were found true and none failed.
    `seen` is what a model that sees was asked about the last text, with its answers: yes, no,
    unclear.
    """

    rounds: int
    claims: int
    unchecked: int
    failed: tuple[str, ...]
    mended: tuple[str, ...]
    drafts: tuple[str, ...]
    verified: bool
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Generation:
    """What a language model was asked and what it said, kept verbatim.

    `seed` is that of sampled text, null where tokens were chosen greedily. `attempts` are the
    finish reasons of answers that were thrown away before this one. `review` is null where claims
    were not checked.
    """

    prompt: str
    answer: str
    source: str
    finish_reason: str
    seed: int | None = None
    attempts: tuple[str, ...] = ()
    review: Review | None = None
