"""Train the embedded spaCy pipeline: parts of speech and dependencies, so that captions have
noun phrases.

    python -m training.recipes.picturebook.spacy_pipeline --export DIR

Tagged captions of rendered scenes and tagged sentences about everyday things; about a minute.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch

from grand_pipeline.picturebook.language import TaggedToken, tagged_caption, tagged_description
from grand_pipeline.picturebook.render import render
from training.recipes.picturebook.common import EVAL_SEED, TRAIN_SEED, machine
from training.recipes.picturebook.sentences import sentence

WIDTH, ROWS, DEPTH = 64, 400, 2
EPOCHS = 8
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


def train(nlp: Any, gold: Sequence[Doc], epochs: int, seed: int) -> None:
    """Fit in place."""
    pairs = [Example(Doc(nlp.vocab, [t.text for t in d], [bool(t.whitespace_) for t in d]), d)
             for d in gold]  # fmt: skip
    fix_random_seed(seed)
    optimizer = nlp.initialize(lambda: pairs)
    shuffle = random.Random(seed)
    for epoch in range(epochs):
        shuffle.shuffle(pairs)
        optimizer.learn_rate = 2e-3 * (1 - epoch / epochs)
        losses: dict[str, float] = {}
        for batch in minibatch(pairs, 32):
            nlp.update(batch, sgd=optimizer, losses=losses, drop=0.15)
        print(epoch, {name: round(value, 1) for name, value in losses.items()}, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score on sentences never seen, export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", type=Path, required=True, help="folder for the pipeline")
    parser.add_argument("--sentences", type=int, default=3000, help="of each of the two sorts")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    nlp = build()
    texts = [*world(options.sentences, TRAIN_SEED), *everyday(options.sentences, TRAIN_SEED)]
    train(nlp, [reference(nlp, tagged) for tagged in texts], options.epochs, options.seed)
    minutes = (time.monotonic() - started) / 60
    unseen = {"world": world(200, EVAL_SEED), "everyday": everyday(400, EVAL_SEED)}
    reached = {
        f"{kind}_{name}": value
        for kind, texts_of in unseen.items()
        for name, value in scores(nlp, list(texts_of)).items()
    }
    print(json.dumps(reached, indent=2))
    nlp.to_disk(options.export, exclude=["vocab"])
    card = {
        "commands": [
            "python -m training.recipes.picturebook.spacy_pipeline "
            f"--sentences {options.sentences} --epochs {options.epochs} --seed {options.seed}"
        ],
        "seed": options.seed,
        "steps": options.epochs * -(-len(texts) // 32),
        "minutes": round(minutes, 2),
        "machine": machine(),
        "scores": reached,
    }
    (options.export / "training.json").write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
