"""What the viewer answers, without sockets: pages, rows, pictures, and nothing else."""

from __future__ import annotations

import io
import json
import re
import struct
import time
import zlib
from dataclasses import replace
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from grand_pipeline.columns import ImageRow
from grand_pipeline.store import ANNOTATIONS, Run
from grand_pipeline.viewer.site import LONGEST_REQUEST, Answer, Site
from tests.training.data.made import write_run
from tests.viewer.runs import HOSTILE, seen_run

STATIC = resources.files("grand_pipeline.viewer").joinpath("static")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(seen_run(tmp_path_factory.mktemp("seen")))


def _ids(site: Site) -> list[str]:
    return [row.image_id for row in site.run.images()]


def _json(site: Site, target: str) -> Any:
    answer = site.answer(target)
    assert (answer.status, answer.kind) == (HTTPStatus.OK, "application/json")
    return json.loads(answer.body)


def test_the_page_and_what_it_loads(site: Site) -> None:
    page = site.answer("/")
    assert page.kind.startswith("text/html") and b"<main" in page.body
    loaded = set(re.findall(r'(?:src|href)="(/[^"]+)"', page.body.decode()))
    modules = {
        name
        for file in STATIC.iterdir()
        for name in re.findall(r'from "(/[^"]+)"', file.read_text("utf-8"))
    }
    assert "/main.js" in loaded and "/parts.js" in modules
    for target in loaded | modules:
        assert site.answer(target).status == HTTPStatus.OK, target


def test_about_the_run(site: Site) -> None:
    assert _json(site, "/api/run")["images"] == 6
    assert _json(site, "/api/labels")["sources"] == [["eye", 1]]


def test_filters_come_from_the_query(site: Site) -> None:
    found = _json(site, "/api/images?label=ball&text=RED%20ball&state=failed&limit=5")
    assert [item["number"] for item in found["items"]] == [2]
    assert (found["after"], found["total"]) == (None, 6)


def test_one_picture_with_everything_that_is_said_of_it(site: Site) -> None:
    ids = _ids(site)
    told = _json(site, f"/api/image/{ids[0]}")
    assert (told["number"], told["previous"], told["next"]) == (0, None, ids[1])
    assert [one["color"] for one in told["objects"]] == ["#d62746", "#186ecd"]
    assert told["objects"][0]["outline"].startswith("M")
    assert "".join(piece["text"] for piece in told["dense_caption"]["pieces"]).startswith("A red")
    assert told["captions"][0]["pieces"][0] == {"text": "A red ball", "ids": [0]}


def test_hostile_texts_arrive_as_they_are_and_as_json(site: Site) -> None:
    told = _json(site, f"/api/image/{_ids(site)[1]}?at=1")
    assert told["objects"][0]["label"] == HOSTILE
    assert "".join(piece["text"] for piece in told["captions"][0]["pieces"]) == HOSTILE


def test_a_torn_mask_is_said_and_the_rest_is_shown(site: Site) -> None:
    [one] = _json(site, f"/api/image/{_ids(site)[3]}")["objects"]
    assert one["outline"] is None and one["mask_fault"]


def test_where_an_object_comes_from_where_that_is_known(site: Site) -> None:
    answer = site.answer(f"/api/image/{_ids(site)[0]}/object/0")
    assert answer.status == HTTPStatus.BAD_REQUEST
    assert "was not made by grand build" in json.loads(answer.body)["error"]


@pytest.mark.parametrize(("size", "longest"), [("small", 64), ("large", 64)])
def test_pictures_are_written_anew(site: Site, size: str, longest: int) -> None:
    answer = site.answer(f"/{size}/{_ids(site)[0]}.jpg?at=0")
    assert (answer.kind, answer.lasting) == ("image/jpeg", True)
    assert Image.open(io.BytesIO(answer.body)).size == (longest, 48)


def test_embedded_pictures_need_no_file(tmp_path: Path) -> None:
    site = Site(write_run(tmp_path, [2], embed=True))
    assert site.answer(f"/small/{_ids(site)[1]}.jpg").status == HTTPStatus.OK


def test_a_file_that_is_no_picture_stays_unseen(site: Site) -> None:
    answer = site.answer(f"/large/{'e' * 32}.jpg?at=5")
    assert answer.status == HTTPStatus.NOT_FOUND
    assert b"secret" not in answer.body


@pytest.mark.parametrize("sides", [(60_000, 60_000), (2**31 - 1, 1), (13_400, 13_400)])
def test_a_bomb_is_no_picture(tmp_path: Path, sides: tuple[int, int]) -> None:
    run = Run.create(tmp_path / "run", {})
    run.add_shard([ImageRow("b" * 32, "b.png", (), 64, 48, "PNG", None, bomb(*sides))])
    begun = time.process_time()
    answer = Site(run).answer(f"/large/{'b' * 32}.jpg")
    assert answer.status == HTTPStatus.NOT_FOUND
    assert time.process_time() - begun < 5


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says how large it is, and little more."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(100_000))
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize("kind", ["images", "annotations"])
def test_a_link_out_of_the_run_shows_nothing_of_what_is_there(tmp_path: Path, kind: str) -> None:
    run = write_run(tmp_path, [2])
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret PAR1" * 99)
    path = tmp_path / "run" / kind / "00000.parquet"
    path.unlink()
    path.symlink_to(secret)
    for target in ("/api/images", "/api/labels", "/api/run", f"/api/image/{'0' * 32}"):
        answer = Site(run).answer(target)
        assert b"secret PAR1" not in answer.body


@pytest.mark.parametrize(
    "target",
    [
        "/../pyproject.toml",
        "/static/../../site.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/main.js/../../server.py",
        "/small/..%2f..%2fsecret.jpg",
        "/small/../secret.txt",
        "/large/%00.jpg",
        "/api/image/..%2f..%2frun.json",
        "/api/image/%ff%fe",
        "/site.py",
        "/index.html",
        "/api/",
        "/api/image/",
        f"/api/image/{'0' * 65}",
        f"/api/image/{'0' * 32}",
        "",
        "*",
        "http://127.0.0.1/",
    ],
)
def test_no_path_but_the_known_ones(site: Site, target: str) -> None:
    assert site.answer(target).status == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=-1", HTTPStatus.BAD_REQUEST),
        ("from=1e9", HTTPStatus.BAD_REQUEST),
        ("limit=%C2%B2", HTTPStatus.BAD_REQUEST),
        ("state=odd", HTTPStatus.BAD_REQUEST),
        ("&".join(f"a{n}=1" for n in range(9)), HTTPStatus.BAD_REQUEST),
        ("text=" + "x" * LONGEST_REQUEST, HTTPStatus.REQUEST_URI_TOO_LONG),
        ("from=999999999999", HTTPStatus.OK),
        ("limit=999999999999", HTTPStatus.OK),
        ("text=%00%ff%F0%9F%98%80'%22--", HTTPStatus.OK),
        ("label=(.*)%5B", HTTPStatus.OK),
    ],
)
def test_odd_queries_are_answered_in_order(site: Site, query: str, status: HTTPStatus) -> None:
    assert site.answer(f"/api/images?{query}").status == status


def test_a_run_in_progress_and_a_damaged_one(tmp_path: Path) -> None:
    run = write_run(tmp_path, [2, 2])
    site = Site(run)
    run.discard(ANNOTATIONS, "00001")
    states = [item["state"] for item in _json(site, "/api/images")["items"]]
    assert states == ["annotated", "annotated", "pending", "pending"]
    assert _json(site, f"/api/image/{_ids(site)[3]}")["state"] == "pending"
    run.fragment(ANNOTATIONS, "00001").write_bytes(b"PAR1 of nothing PAR1")
    answer = site.answer("/api/images")
    assert answer.status == HTTPStatus.INTERNAL_SERVER_ERROR
    assert b"can not be read" in answer.body


def test_a_run_without_pictures(tmp_path: Path) -> None:
    site = Site(Run.create(tmp_path / "run", {}))
    assert _json(site, "/api/images") == {"items": [], "after": None, "total": 0}


def test_answers_are_json_whatever_the_numbers(tmp_path: Path) -> None:
    run = write_run(
        tmp_path,
        [1],
        change=lambda row: replace(row, objects=(replace(row.objects[0], score=float("nan")),)),
    )
    told: Answer = Site(run).answer(f"/api/image/{_ids(Site(run))[0]}")
    assert b"NaN" not in told.body and json.loads(told.body)["objects"][0]["score"] is None


@pytest.mark.parametrize("name", sorted(file.name for file in STATIC.iterdir()))
def test_the_page_is_made_of_text_nodes_and_of_nothing_from_elsewhere(name: str) -> None:
    text = STATIC.joinpath(name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|srcdoc"
    assert not re.search(forbidden, text)
    assert not re.search(r"https?:|//[a-z]+\.[a-z]|cookie", text)
    if name.endswith(".html"):
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*src=)", text)


def test_every_colour_is_said_once_for_light_and_dark() -> None:
    told = re.findall(r"(--[\w-]+): var\(--light", STATIC.joinpath("style.css").read_text("utf-8"))
    whole = STATIC.joinpath("style.css").read_text("utf-8")
    assert len(told) > 8 and all(len(re.findall(rf"{name}: ", whole)) == 1 for name in told)
