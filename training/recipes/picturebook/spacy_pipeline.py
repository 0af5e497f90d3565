"""Train the embedded spaCy pipeline: parts of speech and dependencies, so that captions have
noun phrases.

    python -m training.recipes.picturebook.spacy_pipeline --out RUN --export DIR

Tagged captions of rendered scenes and tagged sentences about everyday things; some minutes. spaCy
brings its own models and its own optimizer, so this recipe has a loop of its own. It trains on
the CPU.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch

from grand_pipeline.picturebook.language import TaggedToken, tagged_caption, tagged_description
from grand_pipeline.picturebook.render import render
from training.checkpoint import replace_folder
from training.logs import LOG, read
from training.recipes.picturebook import export
from training.recipes.picturebook.recipe import MODULES, Options, option_parser, scaled
from training.recipes.picturebook.scenes import EVAL_SEED, TRAIN_SEED
from training.recipes.picturebook.sentences import sentence
from training.recipes.picturebook.state import Progress

WIDTH, ROWS, DEPTH = 64, 400, 2
SENTENCES, EPOCHS, BATCH, SEED = 2000, 6, 32, 0  # sentences: of each of the two sorts
STATE, PROGRESS = "state", "progress.json"
TOK2VEC: dict[str, Any] = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "width": WIDTH,
    "depth": DEPTH,
    "embed_size": ROWS,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
    "pretrained_vectors": None,
}


def build() -> Any:
    """The untrained pipeline: a shared token encoder, a morphologizer and a parser."""
    shared = {"@architectures": "spacy.Tok2VecListener.v1", "width": WIDTH}
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": TOK2VEC})
    tagger = {"@architectures": "spacy.Tagger.v2", "tok2vec": shared}
    nlp.add_pipe("morphologizer", config={"model": tagger})
    parser = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "parser",
        "extra_state_tokens": False,
        "hidden_width": 48,
        "maxout_pieces": 2,
        "use_upper": True,
        "tok2vec": shared,
    }
    nlp.add_pipe("parser", config={"model": parser})
    nlp.meta["name"] = "picturebook"
    nlp.meta["spacy_version"] = ">=3.8,<4"
    return nlp


def world(count: int, seed: int) -> Iterator[list[TaggedToken]]:
    """Captions of `count` scenes, and the description of every fifth, some as sentences."""
    for index in range(count):
        scene = render(seed, index)
        rng = np.random.default_rng([seed, 51, index])
        tagged = tagged_caption(scene, rng)
        if rng.random() < 0.3:
            text, pos, head, dep = tagged[0]
            tagged[0] = (text.capitalize(), pos, head, dep)
        if rng.random() < 0.3:
            root = next(n for n, token in enumerate(tagged) if token[3] == "ROOT")
            tagged.append((".", "PUNCT", root, "punct"))
        yield tagged
        if index % 5 == 0:
            yield tagged_description(scene, rng)


def everyday(count: int, seed: int) -> Iterator[list[TaggedToken]]:
    """Sentences about everyday things."""
    rng = np.random.default_rng([seed, 52])
    for _ in range(count):
        yield [(t.text, t.pos, t.head, t.dep) for t in sentence(rng).tokens]


def reference(nlp: Any, tagged: Sequence[TaggedToken]) -> Doc:
    """A gold document."""
    words, pos, heads, deps = zip(*tagged, strict=True)
    after = [tag != "PUNCT" for tag in [*pos[1:], "PUNCT"]]
    return Doc(nlp.vocab, words, after, pos=pos, heads=heads, deps=deps)


def scores(nlp: Any, sentences: Sequence[Sequence[TaggedToken]]) -> dict[str, float]:
    """Precision and recall of noun phrases (same characters, same head), and the share of
    sentences that have exactly the right ones."""
    found, true, both, exact = 0, 0, 0, 0
    for tagged in sentences:
        gold = reference(nlp, tagged)
        wanted = {(c.start_char, c.end_char, c.root.text) for c in gold.noun_chunks}
        got = {(c.start_char, c.end_char, c.root.text) for c in nlp(gold.text).noun_chunks}
        found, true, both = found + len(got), true + len(wanted), both + len(got & wanted)
        exact += got == wanted
    return {
        "precision": round(both / max(found, 1), 4),
        "recall": round(both / max(true, 1), 4),
        "exact": round(exact / len(sentences), 4),
    }


Sentences = Sequence[Sequence[TaggedToken]]


def train(sentences: Sentences, epochs: int, seed: int, out: Path) -> tuple[Any, Progress]:
    """The pipeline after `epochs` passes, trained from the state in `out` if there is one.

    Every epoch begins with a new pipeline that reads what was saved, so a resumed training equals
    an uninterrupted one.
    """
    per_epoch = -(-len(sentences) // BATCH)
    if not (out / STATE).is_dir():
        fix_random_seed(seed)
        nlp = build()
        nlp.initialize(lambda: _examples(nlp, sentences))
        _save(nlp, Progress(), {}, out)
    nlp, done = _load(out)
    for epoch in range(done.step // per_epoch, epochs):
        started = time.monotonic()
        losses = _epoch(nlp, _examples(nlp, sentences), _rate(epoch, epochs), seed + epoch)
        seconds = done.seconds + time.monotonic() - started
        _save(nlp, Progress((epoch + 1) * per_epoch, seconds), losses, out)
        nlp, done = _load(out)
    return nlp, done


def _examples(nlp: Any, sentences: Sentences) -> list[Example]:
    gold = [reference(nlp, tagged) for tagged in sentences]
    return [Example(Doc(nlp.vocab, [t.text for t in d], [bool(t.whitespace_) for t in d]), d)
            for d in gold]  # fmt: skip


def _load(out: Path) -> tuple[Any, Progress]:
    nlp = build().from_disk(out / STATE, exclude=["vocab"])
    return nlp, Progress(**json.loads((out / STATE / PROGRESS).read_text()))


def _rate(epoch: int, epochs: int) -> float:
    return 2e-3 * (1 - epoch / epochs)


def _epoch(nlp: Any, pairs: Sequence[Example], rate: float, seed: int) -> dict[str, float]:
    """One pass over all pairs. Moments begin anew, so an epoch depends on the weights alone."""
    fix_random_seed(seed)
    optimizer = nlp.resume_training()
    optimizer.learn_rate = rate
    losses: dict[str, float] = {}
    for batch in minibatch(random.Random(seed).sample(pairs, len(pairs)), BATCH):
        nlp.update(batch, sgd=optimizer, losses=losses, drop=0.15)
    return losses


def _save(nlp: Any, done: Progress, losses: dict[str, float], out: Path) -> None:
    def write(folder: Path) -> None:
        nlp.to_disk(folder, exclude=["vocab"])
        (folder / PROGRESS).write_text(json.dumps(asdict(done)))
        rows = read(out / STATE / LOG)
        row = {"step": done.step, "minutes": round(done.seconds / 60, 3)}
        row |= {name: round(float(value), 4) for name, value in losses.items()}
        rows += [row] if losses else []
        (folder / LOG).write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    replace_folder(out / STATE, write)
    print(done, {name: round(float(value), 1) for name, value in losses.items()}, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score on sentences never seen, export."""
    options = Options(**vars(option_parser(__doc__ or "").parse_args(arguments)))
    count = scaled(SENTENCES, options.scale, 8)
    phases = [{"name": "all", "sentences": count, "epochs": EPOCHS, "seed": SEED}]
    if export.is_done(options.out, options.export, phases):
        print(f"spacy: nothing to do; {options.out} is trained and exported")
        return
    texts = [*world(count, TRAIN_SEED), *everyday(count, TRAIN_SEED)]
    nlp, done = train(texts, 0 if options.export_only else EPOCHS, SEED, options.out)
    if options.export is None:
        return
    reached = unseen_scores(nlp)
    print(json.dumps(reached, indent=2))
    scale = f" --scale {options.scale:g}" if options.scale != 1 else ""
    facts = {
        "commands": [f"python -m {MODULES}.spacy_pipeline --out RUN --export DIR{scale}"],
        "seed": SEED,
        "steps": done.step,
        "minutes": round(done.seconds / 60, 1),
        "machine": export.machine("cpu"),
        "phases": phases,
        "scores": reached,
    }

    def write(folder: Path) -> None:
        nlp.to_disk(folder, exclude=["vocab"])

    export.whole(options.export, write, facts, {"all": options.out / STATE})
    export.mark_done(options.out, facts)


def unseen_scores(nlp: Any) -> dict[str, float]:
    """`scores` on sentences of seeds that no training draws from."""
    unseen = {"world": world(200, EVAL_SEED), "everyday": everyday(400, EVAL_SEED)}
    return {
        f"{kind}_{name}": value
        for kind, texts in unseen.items()
        for name, value in scores(nlp, list(texts)).items()
    }


if __name__ == "__main__":
    main()
