"""Sentences about scenes: grounded, grammatical in form, and true."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from grand_pipeline.labels import normalize
from grand_pipeline.picturebook import language
from grand_pipeline.picturebook.knowledge import PLACE_FACTS, THING_FACTS
from grand_pipeline.picturebook.language import Caption
from grand_pipeline.picturebook.lexicon import ADJECTIVES, NOUNS, PLURALS, PREPOSITIONS
from grand_pipeline.picturebook.relations import scene_relations
from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.scene import Scene, SceneObject
from grand_pipeline.picturebook.vocabulary import COLORS, SCENES, STUFF, SYNONYMS, THINGS


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render(13, index) for index in range(40)]


def rng(number: int) -> np.random.Generator:
    return np.random.default_rng(number)


def captions(scene: Scene) -> list[Caption]:
    return [language.caption(scene, np.random.default_rng([scene.index, n])) for n in range(8)]


def class_words(text: str) -> list[str]:
    words = [PLURALS.get(word, word) for word in re.findall(r"[a-z]+", text.lower())]
    return [word for word in words if word in THINGS or word in STUFF]


def check_spans(scene: Scene, caption: Caption) -> None:
    """Every phrase names its objects: class, colour and number are right."""
    for start, end, ids in caption.spans:
        phrase = caption.text[start:end]
        assert phrase == phrase.strip() and phrase
        head = normalize(phrase).split()[-1]
        assert {scene.objects[i].name for i in ids} == {head}, caption.text
        colors = set(phrase.split()) & set(COLORS)
        assert all({scene.objects[i].color} == colors for i in ids if colors), caption.text
        assert len(ids) == 1 or phrase.startswith(("two ", "three ", "four "))


def test_caption_spans_are_exact(scenes: list[Scene]) -> None:
    for scene in scenes:
        for caption in captions(scene):
            assert caption.spans
            check_spans(scene, caption)


def test_captions_are_short_lower_case_and_varied(scenes: list[Scene]) -> None:
    texts = [caption.text for scene in scenes for caption in captions(scene)]
    for text in texts:
        assert text == text.lower() and not text.endswith(".")
        assert 2 <= len(re.findall(r"\w+|,", text)) <= 32  # the captioner writes 39 words at most
    assert len(set(texts)) > 0.6 * len(texts)


def largest(scene: Scene, count: int) -> list[SceneObject]:
    return sorted(scene.things, key=lambda o: (-np.sum(scene.ids == o.id), o.id))[:count]


def test_captions_name_the_largest_things(scenes: list[Scene]) -> None:
    named = []
    for scene in scenes:
        for caption in captions(scene):
            words = class_words(caption.text)
            assert {o.name for o in largest(scene, 2)} <= set(words), caption.text
            named += [o.name in words for o in largest(scene, 3)]
            ids = [
                i for _, _, ids in caption.spans for i in ids if scene.objects[i] in scene.things
            ]
            assert len(set(ids)) == len(ids), f"one thing twice: {caption.text}"
    assert np.mean(named) > 0.95


def test_captions_name_the_largest_thing_first_unless_it_stands_in_two_places(
    scenes: list[Scene],
) -> None:
    first = []
    for scene in scenes:
        for caption in captions(scene):
            top = next(ids for _, _, ids in caption.spans if largest(scene, 1)[0].id in ids)
            first.append(top == caption.spans[0][2])
            assert first[-1] or len(top) > 1, caption.text
    assert np.mean(first) > 0.9


def test_things_alike_in_class_are_told_apart(scenes: list[Scene]) -> None:
    """Two of a class are counted or have their colours."""
    for scene in scenes:
        for caption in captions(scene):
            things = [
                caption.text[start:end]
                for start, end, ids in caption.spans
                if scene.objects[ids[0]].kind == "thing"
            ]
            assert len(set(things)) == len(things), caption.text


def test_relations_in_captions_are_true(scenes: list[Scene]) -> None:
    seen = 0
    for scene in scenes:
        front = {
            (t.subject, t.object) for t in scene_relations(scene) if t.predicate == "in front of"
        }
        for caption in captions(scene):
            for (_, end, first), (start, _, second) in pairwise(caption.spans):
                between = caption.text[end:start].strip()
                if between.endswith("in front of"):
                    assert (first[0], second[0]) in front, caption.text
                    seen += 1
                elif between.endswith("behind"):
                    assert (second[0], first[0]) in front, caption.text
                    seen += 1
    assert seen > 5


def test_captions_name_only_what_is_there(scenes: list[Scene]) -> None:
    for scene in scenes:
        present = {o.name for o in scene.objects}
        for caption in captions(scene):
            assert set(class_words(caption.text)) <= present


def test_every_class_word_of_a_caption_is_grounded(scenes: list[Scene]) -> None:
    for scene in scenes:
        for caption in captions(scene):
            phrases = (caption.text[start:end] for start, end, _ in caption.spans)
            grounded = [word for phrase in phrases for word in class_words(phrase)]
            assert sorted(grounded) == sorted(class_words(caption.text))


def test_places_in_captions_are_true(scenes: list[Scene]) -> None:
    """What is listed before "on the grass" stands on the grass."""
    seen = 0
    for scene in scenes:
        facts = {
            (t.subject, t.object) for t in scene_relations(scene) if t.predicate in ("on", "in")
        }
        for caption in captions(scene):
            listed: list[int] = []
            end = 0
            for start, after, ids in caption.spans:
                joint, end = caption.text[end:start].strip(), after
                if scene.objects[ids[0]].kind == "stuff":
                    assert {(thing, ids[0]) for thing in listed} <= facts, caption.text
                    seen, listed = seen + len(listed), []
                elif joint in (",", "and", ", and", "there is", "there are", ""):
                    listed += ids
                else:  # at the other end of a relation it may be elsewhere
                    listed = []
    assert seen > 400


def test_the_same_generator_gives_the_same_sentences(scenes: list[Scene]) -> None:
    for scene in scenes[:5]:
        assert language.caption(scene, rng(3)) == language.caption(scene, rng(3))
        assert language.describe(scene, rng(3)) == language.describe(scene, rng(3))
        assert language.context(scene, rng(3)) == language.context(scene, rng(3))


def test_descriptions_cover_every_thing_with_its_colour(scenes: list[Scene]) -> None:
    for scene in scenes:
        text = language.describe(scene, rng(1))
        check_spans(scene, text)
        mentioned = {i for _, _, ids in text.spans for i in ids}
        assert mentioned >= {o.id for o in scene.things}
        colored = {
            i
            for start, end, ids in text.spans
            for i in ids
            if set(text.text[start:end].split()) & set(COLORS)
        }
        assert colored == {o.id for o in scene.things}
        assert 2 <= text.text.count(".") <= 4
        assert "foreground" in text.text


def test_descriptions_count(scenes: list[Scene]) -> None:
    for scene in scenes:
        first = language.describe(scene, rng(1)).text.split(".")[0]
        for name in {o.name for o in scene.things}:
            many = sum(o.name == name for o in scene.things)
            wanted = name if many == 1 else f"two {THINGS[name].plural}"
            assert re.search(rf"\b{wanted}\b", first)


def test_tagged_words_form_a_tree_per_sentence(scenes: list[Scene]) -> None:
    for scene in scenes:
        for n in range(6):
            for tokens in (
                language.tagged_caption(scene, rng(n)),
                language.tagged_description(scene, rng(n)),
            ):
                ends = sum(text == "." for text, _, _, _ in tokens)
                roots = [i for i, (_, _, head, dep) in enumerate(tokens) if dep == "ROOT"]
                assert len(roots) == max(1, ends)
                for i in range(len(tokens)):
                    path = [i]
                    while tokens[path[-1]][2] != path[-1]:
                        path.append(tokens[path[-1]][2])
                        assert len(path) <= len(tokens), "heads go round in a circle"
                    assert path[-1] in roots


def test_tagged_captions_are_the_captions(scenes: list[Scene]) -> None:
    for scene in scenes[:10]:
        words = [text for text, _, _, _ in language.tagged_caption(scene, rng(2))]
        assert " ".join(words).replace(" ,", ",") == language.caption(scene, rng(2)).text


def test_words_have_the_parts_of_speech_of_the_lexicon(scenes: list[Scene]) -> None:
    nouns = {word for noun in NOUNS for word in noun.split()} | set(PLURALS)
    for scene in scenes:
        for text, pos, _, _ in language.tagged_description(scene, rng(0)):
            if pos == "NOUN":
                assert text in nouns
            elif pos == "ADJ":
                assert text in ADJECTIVES
            elif text in PREPOSITIONS:
                assert pos == "ADP"


def test_tags_and_landmark(scenes: list[Scene]) -> None:
    for scene in scenes:
        tags = language.tags(scene)
        assert len(set(tags)) == len(tags)
        assert set(tags) == {o.name for o in scene.objects} | {scene.kind}
        kind = SCENES[scene.kind]
        assert language.landmark(scene) == (kind.category, kind.fine_category)


def test_context_is_five_to_seven_sentences_about_the_picture(scenes: list[Scene]) -> None:
    for scene in scenes:
        text = language.context(scene, rng(4))
        sentences = re.split(r"(?<=\.) ", text)
        assert 5 <= len(sentences) <= 7
        assert len(set(sentences)) == len(sentences)
        about = [fact for o in scene.things for fact in THING_FACTS[o.name]]
        assert set(sentences) <= set(about) | set(PLACE_FACTS[scene.kind])


def test_knowledge_covers_the_vocabulary() -> None:
    assert set(THING_FACTS) == set(THINGS)
    assert set(PLACE_FACTS) == set(SCENES)
    assert set(SYNONYMS.values()) <= set(THINGS) | set(STUFF)
