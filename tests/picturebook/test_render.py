"""Rendered scenes: reproducible, and the truth agrees with the pixels."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from grand_pipeline.picturebook.render import render
from grand_pipeline.picturebook.scene import MAX_OBJECTS, MIN_SIDE, MIN_VISIBLE, Scene
from grand_pipeline.picturebook.sprites import DRAWINGS, SHADES, sprite
from grand_pipeline.picturebook.vocabulary import (
    COLORS,
    HELD_OUT,
    SCENES,
    STUFF,
    THINGS,
    UNNAMED,
    allowed_colors,
    unnamed_colors,
)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render(3, index) for index in range(60)]


def test_the_same_numbers_give_the_same_scene() -> None:
    first, again = render(8, 5), render(8, 5)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.ids, again.ids)
    assert np.array_equal(first.depth, again.depth)
    assert first.objects == again.objects
    assert not np.array_equal(first.image, render(8, 6).image)
    assert not np.array_equal(first.image, render(9, 5).image)


def test_a_scene_does_not_depend_on_what_was_rendered_before() -> None:
    before = render(4, 2)
    sprite.cache_clear()
    for index in range(5):
        render(5, index)
    assert np.array_equal(before.image, render(4, 2).image)


def test_arrays_have_their_types_and_every_pixel_an_object(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (256, 256, 3) and scene.image.dtype == np.uint8
        assert scene.ids.shape == (256, 256) and scene.ids.dtype == np.int16
        assert scene.depth.shape == (256, 256) and scene.depth.dtype == np.float32
        assert [o.id for o in scene.objects] == list(range(len(scene.objects)))
        assert set(np.unique(scene.ids)) == set(range(len(scene.objects)))
        assert scene.depth.min() > 0 and scene.depth.max() <= 1


def test_boxes_are_tight_round_the_visible_mask(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            rows, columns = np.nonzero(scene.ids == thing.id)
            tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert thing.box == tight


def test_things_come_first_and_are_visible_and_large_enough(scenes: list[Scene]) -> None:
    for scene in scenes:
        kinds = [o.kind for o in scene.objects]
        assert kinds == ["thing"] * len(scene.things) + ["stuff"] * (len(kinds) - len(scene.things))
        assert 2 <= len(scene.things) <= MAX_OBJECTS
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box
            assert max(x2 - x1, y2 - y1) >= MIN_SIDE * 256
            assert MIN_VISIBLE <= thing.visible <= 1
            assert thing.name in THINGS and thing.color in COLORS
        for region in scene.objects[len(scene.things) :]:
            assert region.name in STUFF and region.color is None
            assert region.name in SCENES[scene.kind].stuff


def test_depth_is_the_median_and_things_are_flat(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            values = scene.depth[scene.ids == thing.id]
            assert thing.depth == pytest.approx(float(np.median(values)), abs=1e-6)
            if thing.kind == "thing":
                assert np.ptp(values) < 1e-6


def test_nearer_things_occlude_farther_ones(scenes: list[Scene]) -> None:
    hidden = 0
    for scene in scenes:
        order = [thing.depth for thing in scene.things]
        assert order == sorted(order, reverse=True)
        for thing in scene.things:
            x1, y1, x2, y2 = (int(v) for v in thing.box)
            if thing.visible == 1.0 or min(x1, y1) == 0 or max(x2, y2) == 256:
                continue
            around = scene.ids[max(0, y1 - 20) : y2 + 20, max(0, x1 - 20) : x2 + 20]
            assert around.min() < thing.id  # ids count from the nearest thing
            hidden += 1
    assert hidden > 5


def test_ground_depth_grows_towards_the_viewer(scenes: list[Scene]) -> None:
    for scene in scenes:
        ground = scene.ids >= len(scene.things)
        for column in (10, 128, 240):
            values = scene.depth[ground[:, column], column]
            assert np.all(np.diff(values) >= -1e-6)


def test_training_scenes_never_show_a_held_out_pair() -> None:
    for index in range(150):
        pairs = {(o.name, o.color) for o in render(21, index).things}
        assert not pairs & HELD_OUT


def test_held_out_scenes_show_these_pairs_often() -> None:
    drawn = [o for index in range(40) for o in render(21, index, held_out=True).things]
    possible = [o for o in drawn if any(name == o.name for name, _ in HELD_OUT)]
    share = sum((o.name, o.color) in HELD_OUT for o in possible) / len(possible)
    assert 0.35 < share < 0.65


def test_every_class_scene_and_colour_occurs() -> None:
    scenes = [render(30, index) for index in range(120)]
    names = Counter(o.name for scene in scenes for o in scene.objects)
    assert set(names) == set(THINGS) | set(STUFF)
    assert {scene.kind for scene in scenes} == set(SCENES)
    assert {o.color for scene in scenes for o in scene.things} == set(COLORS)
    counts = [names[name] for name in THINGS]
    assert max(counts) < 5 * min(counts)


def test_other_sizes_keep_the_layout() -> None:
    small, large = render(2, 1, size=128), render(2, 1, size=384)
    assert small.image.shape == (128, 128, 3) and large.ids.shape == (384, 384)
    assert small.kind == large.kind


def test_held_out_pairs_are_of_known_words_and_leave_most_colours() -> None:
    assert 20 <= len(HELD_OUT) <= 30
    for name, color in HELD_OUT:
        assert name in THINGS and color in COLORS
    for name in THINGS:
        assert len(allowed_colors(name, held_out=False)) >= len(COLORS) - 1


@pytest.mark.parametrize("name", list(THINGS))
def test_the_main_colour_of_a_sprite_is_its_colour(name: str) -> None:
    """More pixels are nearest to the named colour than for the same class in another colour."""
    palette = np.array(list(COLORS.values()), float)

    def share(drawn: str, asked: str) -> float:
        pixels = np.asarray(sprite(name, drawn, 1), float)
        solid = pixels[pixels[..., 3] == 255][:, :3]
        nearest = np.linalg.norm(solid[:, None] - palette[None], axis=-1).argmin(axis=1)
        return float((nearest == list(COLORS).index(asked)).mean())

    assert share("green", "green") > share("purple", "green") + 0.1
    assert share("purple", "purple") > 0.12


def test_sprites_fill_their_canvas() -> None:
    assert set(DRAWINGS) == set(THINGS)
    for name in THINGS:
        for shade in range(SHADES):
            solid = np.asarray(sprite(name, "blue", shade))[..., 3] >= 128
            rows, columns = solid.any(axis=1), solid.any(axis=0)
            assert rows.mean() > 0.93 and columns.mean() > 0.9, name


def test_unnamed_tones_part_shape_from_color() -> None:
    """Things in a tone without a name have no colour in the truth, and are far from what is held
    out; without the option the pictures stay as they were."""
    scenes = [render(5, index, unnamed=0.5) for index in range(6)]
    colors = [thing.color for scene in scenes for thing in scene.things]
    assert None in colors and set(colors) - {None} <= set(COLORS)
    assert not any((t.name, t.color) in HELD_OUT for scene in scenes for t in scene.things)
    for name, color in HELD_OUT:
        near = [math.dist(UNNAMED[tone], COLORS[color]) for tone in unnamed_colors(name)]
        assert near and min(near) >= 95
    assert np.array_equal(render(5, 0, unnamed=0.0).image, render(5, 0).image)
