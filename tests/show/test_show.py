"""Pictures of annotations: what is drawn where, and what is written beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from grand_pipeline.columns import StageError
from grand_pipeline.errors import UserError
from grand_pipeline.picturebook.truth import render_dataset
from grand_pipeline.show import chips, contact_sheet, draw, draw_objects, show
from grand_pipeline.show.panel import draw_panel, sections, spoken
from grand_pipeline.show.picture import LARGEST, SMALLEST, label_text
from grand_pipeline.show.style import color_of, drawable
from grand_pipeline.store import Run
from grand_pipeline.types import Caption, Context, Relation, Span, Tag
from tests.evaluation.rows import dense, row, scenes, thing
from tests.training.data.made import write_run
from tests.viewer.runs import besieged_run

GREY = Image.new("RGB", (64, 64), (128, 128, 128))
BOX = (16.0, 16.0, 48.0, 48.0)


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize(
    ("size", "longer"),
    [((64, 32), SMALLEST), ((768, 700), SMALLEST), ((1000, 400), 1000), ((4000, 3000), LARGEST)],
)
def test_pictures_have_a_readable_scale(size: tuple[int, int], longer: int) -> None:
    drawn = draw_objects(row(), Image.new("RGB", size))
    assert max(drawn.size) == longer
    assert drawn.width / drawn.height == pytest.approx(size[0] / size[1], rel=0.02)


def test_without_objects_the_image_is_only_enlarged() -> None:
    assert np.all(_pixels(draw_objects(row(), GREY)) == 128)


def test_a_mask_takes_the_color_of_its_object_inside_only() -> None:
    drawn = _pixels(draw_objects(row(thing(0, "dog", BOX)), GREY))
    inside, outside = drawn[384, 384], drawn[60, 700]
    shift = inside - 128
    wanted = np.array(color_of(0)) - 128
    assert np.all(outside == 128)
    assert np.dot(shift, wanted) > 0 and np.abs(shift).max() > 10


def test_floating_boxes_are_dashed() -> None:
    def edge(status: str) -> int:
        bare = thing(0, "dog", BOX, status=status, mask=None)
        drawn = _pixels(draw_objects(row(bare), GREY))
        column = drawn[200:560, 192]
        return int((np.abs(column - np.array(color_of(0))).max(-1) < 8).sum())

    assert edge("object") > 350
    assert 120 < edge("floating") < 240


def test_an_empty_mask_is_no_problem() -> None:
    from grand_pipeline.geometry import rle_encode

    blank = thing(0, "dog", BOX, mask=rle_encode(np.zeros((64, 64), bool)))
    assert draw_objects(row(blank), GREY).size == (768, 768)


def test_labels_say_id_attribute_class_and_score() -> None:
    assert label_text(thing(3, "dog", BOX, color="red", score=0.876)) == "[3] red dog 0.88"
    assert label_text(thing(3, "dog", BOX, score=None)) == "[3] dog"
    assert label_text(thing(4, "sky", BOX, kind="stuff", score=0.5)) == "[4] sky"
    long = thing(3, "man", BOX, color="a man in a long blue coat", score=None)
    assert label_text(long) == "[3] man"


def test_labels_of_one_place_do_not_cover_each_other() -> None:
    anchors = [(100.0, 100.0, 200.0, 200.0)] * 6
    plates = [chips.Chip(f"[{n}] a red dog", color_of(n), a) for n, a in enumerate(anchors)]
    places = chips.place(plates, (400, 400), 15)
    covered = [
        (a, b)
        for n, a in enumerate(places)
        for b in places[n + 1 :]
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]
    assert covered == []


def test_labels_stay_in_the_picture() -> None:
    corners = [(0.0, 0.0, 5.0, 5.0), (395.0, 395.0, 400.0, 400.0), (-9.0, 390.0, 3.0, 420.0)]
    plates = [chips.Chip("[0] something long", color_of(0), a) for a in corners]
    for x1, y1, x2, y2 in chips.place(plates, (400, 400), 15):
        assert 0 <= x1 < x2 <= 400 and 0 <= y1 < y2 <= 400


def test_words_inside_spans_carry_their_objects() -> None:
    words = list(spoken("see a red dog, and cats.", (Span(4, 13, (7,)), Span(19, 23, (1, 2)))))
    texts = [(w.text, w.object_ids, w.glued) for w in words]
    assert texts == [
        ("see", (), False),
        ("a", (7,), False),
        ("red", (7,), False),
        ("dog", (7,), False),
        (",", (), True),
        ("and", (), False),
        ("cats", (1, 2), False),
        (".", (), True),
    ]


def test_the_panel_names_every_part() -> None:
    full = row(
        thing(0, "dog", BOX),
        thing(1, "cat", BOX, status="floating"),
        captions=(Caption("blip", "a dog", ()),),
        dense_caption=dense("A dog."),
        relations=(Relation(0, "on", 5, "test"),),
        tags=(Tag("park", 1.0, "test"),),
        context=Context("Dogs bark.", "test", "stop"),
        errors=(StageError("depth", "no memory"),),
    )
    titles = [part.title.split(" (")[0] for part in sections(full)]
    wanted = ["caption", "dense caption", "relations", "tags", "context", "error in depth"]
    assert titles[1:] == wanted
    words = [word.text for part in sections(full) for word in part.words]
    for text in ("1 floating", "? [5]", "park", "Dogs", "memory"):
        assert text in words


def test_the_panel_grows_with_its_text() -> None:
    short = sections(row(context=Context("word", "test", "stop")))
    long = sections(row(context=Context("word " * 200, "test", "stop")))
    assert draw_panel(long, 500, 0).height > draw_panel(short, 500, 0).height + 200
    assert draw_panel(short, 500, 900).height == 900


def test_texts_stand_beside_square_and_below_wide_pictures() -> None:
    annotation = row(thing(0, "dog", BOX))
    square = draw(annotation, GREY)
    wide = draw(annotation, Image.new("RGB", (1200, 500)))
    assert square.width > 768 and square.height == 768
    assert wide.width == 1200 and wide.height > 500


def test_letters_that_the_font_lacks_are_replaced() -> None:
    assert drawable("na\u00efve caf\u00e9 \u2013 \u201cso\u201d") == 'naive cafe - "so"'


@pytest.mark.parametrize("count", [0, 1, 5, 12])
def test_contact_sheet(count: int) -> None:
    pictures = [Image.new("RGB", (300, 200 + 20 * n), (9 * n, 90, 40)) for n in range(count)]
    sheet = contact_sheet(pictures)
    colors = {color for _, color in sheet.getcolors(1 << 24) or []}
    assert sheet.width <= 2000
    assert all((9 * n, 90, 40) in colors for n in range(count))


def test_rendered_scenes_can_be_drawn() -> None:
    rows, _ = scenes()
    for annotation in rows:
        assert draw(annotation, Image.new("RGB", (128, 128))).height >= 768


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return render_dataset(tmp_path_factory.mktemp("shown"), 3, 8)


def test_show_writes_one_picture_per_image_and_a_sheet(run: Run, tmp_path: Path) -> None:
    written = show(run, tmp_path / "new")
    names = {f"{row.image_id}.png" for row in run.images()}
    assert {path.name for path in written} == names | {"contact_sheet.png"}
    for path in written[:-1]:
        with Image.open(path) as picture:
            assert picture.width >= 768


def test_show_only_what_is_asked(run: Run, tmp_path: Path) -> None:
    ids = [row.image_id for row in run.images()]
    assert len(show(run, tmp_path, limit=2)) == 3
    assert show(run, tmp_path, [ids[1][:9]])[0].stem == ids[1]
    with pytest.raises(UserError, match="fits no image"):
        show(run, tmp_path, ["zzz"])
    with pytest.raises(UserError, match="more than one image"):
        show(run, tmp_path, [""])


def test_an_image_that_is_gone_is_drawn_on_paper(tmp_path: Path) -> None:
    run = render_dataset(tmp_path, 1, 9)
    (tmp_path / "images" / "000000.png").unlink()
    assert show(run, tmp_path / "out")[0].exists()


def test_a_run_without_annotations(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no annotated image"):
        show(Run.create(tmp_path / "run", {}), tmp_path / "out")


def test_texts_without_measure_are_cut(tmp_path: Path) -> None:
    run = besieged_run(tmp_path)
    path, _ = show(run, tmp_path / "out")
    with Image.open(path) as drawn:
        assert drawn.width < 2000 and drawn.height < 30_000


def test_an_image_that_is_gone_has_no_size_without_measure(tmp_path: Path) -> None:
    run = write_run(
        tmp_path,
        [1],
        change=lambda row: replace(row, width=2**31 - 1, height=2**31 - 1, objects=()),
    )
    Path(next(run.images()).uri).unlink()
    assert show(run, tmp_path / "out")[0].exists()
