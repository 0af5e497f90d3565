"""What the viewer answers: a request's path and query in, status, type and bytes out. No sockets.

Every path is looked up: pages by their exact names, pictures by the ids that the run lists. No part
of a request is ever made part of a path on the disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, unquote

from grand_pipeline import codec, explain
from grand_pipeline.errors import GrandError, ImageError, UserError
from grand_pipeline.store import Run
from grand_pipeline.viewer.listing import Listing, find, listing
from grand_pipeline.viewer.picture import picture
from grand_pipeline.viewer.pixels import SIZES, Cache, jpeg
from grand_pipeline.viewer.search import STATES, Filter, State, facets, page

LONGEST_REQUEST = 2048
"""Characters of path and query together."""

_PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("main", "parts", "grid", "picture", "texts")
    },
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_PICTURE = re.compile(r"/(small|large)/([^/]{1,64})\.jpg")
_ONE = re.compile(r"/api/image/([^/]{1,64})")
_STORY = re.compile(r"/api/image/([^/]{1,64})/object/([0-9]{1,6})")
_MOST_FIELDS = 8
_PER_PAGE = 48
_MOST_PER_PAGE = 200
_CACHE = 96 << 20

Values = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """Status, type and bytes; `lasting` for pictures, which their id names once and for all."""

    status: HTTPStatus
    kind: str
    body: bytes
    lasting: bool = False


@dataclass(frozen=True)
class Site:
    """A run, and the pictures of it that were looked at lately."""

    run: Run
    cache: Cache = field(default_factory=lambda: Cache(_CACHE))

    def answer(self, target: str) -> Answer:
        """What to say to a GET of `target`, a path with its query."""
        if len(target) > LONGEST_REQUEST:
            return problem(HTTPStatus.REQUEST_URI_TOO_LONG, "the request is too long")
        path, _, query = target.partition("?")
        try:
            pairs = parse_qsl(query, max_num_fields=_MOST_FIELDS, errors="replace")
            return self._found(unquote(path, errors="replace"), dict(pairs))
        except (UserError, ValueError) as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except GrandError as error:
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _found(self, path: str, values: Values) -> Answer:
        if path in _PAGES:
            name, kind = _PAGES[path]
            return Answer(HTTPStatus.OK, kind, _static(name))
        if path == "/api/run":
            return _json(_about(self.run))
        if path == "/api/labels":
            return _json(facets(listing(self.run)))
        if path == "/api/images":
            return _json(_page(listing(self.run), values))
        if asked := _PICTURE.fullmatch(path):
            return self._picture(asked[1], asked[2], values)
        if asked := _ONE.fullmatch(path):
            return self._known(asked[1], values, lambda listed, n: _json(picture(listed, n)))
        if asked := _STORY.fullmatch(path):
            number = int(asked[2])
            return self._known(asked[1], values, lambda *_: _story(self.run, asked[1], number))
        return problem(HTTPStatus.NOT_FOUND, "there is no such page")

    def _picture(self, size: str, image_id: str, values: Values) -> Answer:
        def coded(listed: Listing, number: int) -> Answer:
            try:
                key = f"{size}/{image_id}"
                body = self.cache.get(key, lambda: jpeg(listed, number, SIZES[size]))
            except ImageError:
                # Its words may quote what the file holds, which is not to be seen if no picture.
                return problem(HTTPStatus.NOT_FOUND, "its file is gone or is no picture")
            return Answer(HTTPStatus.OK, "image/jpeg", body, lasting=True)

        return self._known(image_id, values, coded)

    def _known(
        self, image_id: str, values: Values, make: Callable[[Listing, int], Answer]
    ) -> Answer:
        """What is made of an image that the run lists."""
        listed = listing(self.run)
        number = find(listed, image_id, _number(values, "at", None))
        if number is None:
            return problem(HTTPStatus.NOT_FOUND, "the run has no such image")
        return make(listed, number)


def problem(status: HTTPStatus, message: str) -> Answer:
    """An answer that says what is wrong."""
    return Answer(status, "application/json", _coded({"error": message}))


def _json(value: Any) -> Answer:
    return Answer(HTTPStatus.OK, "application/json", _coded(value))


def _coded(value: Any) -> bytes:
    """JSON; names of folders may hold bytes that are no text."""
    return codec.json_text(value).encode(errors="replace")


def _about(run: Run) -> dict[str, Any]:
    info = run.info()
    preset = info["preset"].get("name") if isinstance(info["preset"], dict) else None
    return {
        "name": run.root.resolve().name,
        "created": info["created"],
        "preset": preset,
        "images": listing(run).total,
    }


def _page(listed: Listing, values: Values) -> dict[str, Any]:
    """Raises UserError for a value that is not understood."""
    state = values.get("state", "")
    if state and state not in STATES:
        raise UserError(f"no picture is '{state[:40]}'; there are {', '.join(STATES)}")
    chosen: State | None = next((known for known in STATES if known == state), None)
    label, text, source = (values.get(name, "").strip() for name in ("label", "text", "source"))
    asked = Filter(label, text, source, chosen)
    start = _number(values, "from", 0) or 0
    limit = min(_number(values, "limit", None) or _PER_PAGE, _MOST_PER_PAGE)
    found = page(listed, asked, start, limit)
    return {"items": found.items, "after": found.after, "total": listed.total}


def _number(values: Values, name: str, default: int | None) -> int | None:
    """A count from the query. Raises UserError."""
    text = values.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise UserError(f"'{name}' has to be a number")
    return int(text)


def _story(run: Run, image_id: str, number: int) -> Answer:
    return _json(explain.explain(run, image_id, number).json())


@lru_cache
def _static(name: str) -> bytes:
    return resources.files("grand_pipeline.viewer").joinpath("static", name).read_bytes()
