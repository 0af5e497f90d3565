"""Servers that answer with something else than they were asked for, and names that lead out of the
cache: nothing is written but what was wanted, where it was wanted, and no more of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from grand_pipeline import download, fetch, hub_cache, presence, weights
from grand_pipeline.errors import MissingDependencyError, SettingsError
from grand_pipeline.fetch import Fetcher
from grand_pipeline.zoo.files import PublishedFile

GOOD = b"weights" * 100
SHA = hashlib.sha256(GOOD).hexdigest()
Answer = Callable[[BaseHTTPRequestHandler], None]


def quiet(line: str) -> None:
    """Nobody hears how far it is."""


def answer(handler: BaseHTTPRequestHandler, code: int, data: bytes, **headers: Any) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(data)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """A body without an announced end, which never ends."""
    answer(handler, 200, b"")
    try:
        while True:
            handler.wfile.write(bytes(65536))
    except OSError:
        handler.close_connection = True


ANSWERS: dict[str, tuple[Answer, str]] = {
    "endless": (endless, "more than its 700 bytes are sent"),
    "longer": (lambda h: answer(h, 200, b"x" * 999, Content_Length=999), "999 bytes are sent, and"),
    "terabytes": (lambda h: answer(h, 200, b"x", Content_Length=10**13), "10000000000000 bytes"),
    "another": (lambda h: answer(h, 200, bytes(700), Content_Length=700), "was thrown away"),
    "part": (
        lambda h: answer(h, 206, GOOD, Content_Length=700, Content_Range="bytes 9-708/709"),
        "another part than the one from byte 0 on",
    ),
    "nothing left": (lambda h: answer(h, 416, b"", Content_Length=0), "could not be fetched"),
    "round": (lambda h: answer(h, 302, b"", Location="/again", Content_Length=0), "redirects"),
    "file": (lambda h: answer(h, 302, b"", Location="file:///etc/passwd"), "could not be fetched"),
    "page": (lambda h: answer(h, 200, b"<html>", Content_Length=6), "6 bytes are sent, and"),
    "packed": (
        lambda h: answer(h, 200, GOOD, Content_Length=700, Content_Encoding="gzip"),
        "",
    ),
}


@contextmanager
def serving(give: Answer) -> Iterator[str]:
    """The address of a server that always gives this answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            give(self)

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file.pth"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("case", sorted(ANSWERS))
def test_no_answer_is_taken_for_the_file_but_the_file(tmp_path: Path, case: str) -> None:
    give, why = ANSWERS[case]
    place = tmp_path / "file.pth"
    with serving(give) as address:
        wanted = PublishedFile("file.pth", address, len(GOOD), SHA)
        if why:
            with pytest.raises(MissingDependencyError, match=why):
                download.fetch(wanted, place, quiet)
            assert not place.exists()
        else:
            download.fetch(wanted, place, quiet)
            assert place.read_bytes() == GOOD
    assert all(path.stat().st_size <= len(GOOD) for path in tmp_path.iterdir())


def test_a_file_of_unknown_length_without_an_announced_one_is_not_begun(tmp_path: Path) -> None:
    with (
        serving(endless) as address,
        pytest.raises(MissingDependencyError, match="nobody says how long the file is"),
    ):
        download.fetch(PublishedFile("file.pth", address), tmp_path / "file.pth", quiet)


REVISIONS = ["../../x", "a/../../x", "/etc/passwd", "a\x00b", "a//b", "..", "a b", "x" * 300]


@pytest.mark.parametrize("revision", REVISIONS, ids=range(len(REVISIONS)))
def test_no_revision_leads_out_of_the_cache(tmp_path: Path, revision: str) -> None:
    outside = tmp_path / "x"
    outside.write_text("0" * 40)
    cache = tmp_path / "cache"
    (cache / "models--owner--name" / "refs" / "a").mkdir(parents=True)
    assert hub_cache.commit(cache, "owner/name", revision) is None
    with pytest.raises(ValueError, match="is no revision"):
        hub_cache.pin(cache, "owner/name", revision, "1" * 40)
    with pytest.raises(ValueError, match="is no revision"):
        hub_cache.pin(cache, "owner/name", None, "../../x")
    assert outside.read_text() == "0" * 40


def test_a_note_that_is_no_commit_is_none(tmp_path: Path) -> None:
    note = tmp_path / "models--owner--name" / "refs" / "main"
    note.parent.mkdir(parents=True)
    for text in ("../../../etc", "main", "\x00" * 40):
        note.write_text(text)
        assert hub_cache.commit(tmp_path, "owner/name") is None
    note.write_bytes(b"\xff" * 40)
    assert hub_cache.commit(tmp_path, "owner/name") is None


NAMES = ["owner/../name", "a/b/c", "owner/name@../x", "owner/na me", "owner/name;rm -rf", "http:x"]


@pytest.mark.parametrize("model", NAMES)
def test_no_name_but_one_of_the_hub_is_asked_for(tmp_path: Path, model: str) -> None:
    # The address is one that nobody answers.
    by = Fetcher(tmp_path, "http://127.0.0.1:9", offline=False, say=quiet)
    with pytest.raises(MissingDependencyError, match="can not be the name of a model of the hub"):
        fetch.pull(model, by)
    assert list(tmp_path.iterdir()) == []


def test_a_command_to_copy_is_one_command() -> None:
    assert presence.pull_command(["owner/name@v1"]) == "grand models pull owner/name@v1"
    assert presence.pull_command(["x; rm -rf ~"]) == "grand models pull 'x; rm -rf ~'"


def test_names_of_files_are_plain_names() -> None:
    listed = ["config.json", "../../config.json", "..json", ".json", "/etc/x.json", "a\\..\\x.json"]
    listed += ["model.safetensors", "x\n.json", "additional/x.json", "tokenizer (1).json"]
    found = fetch.chosen(listed, "model")
    assert found == (["model.safetensors"], ["config.json", "tokenizer (1).json"])


@pytest.mark.parametrize("sha256", ["../../../.bashrc", "", "A" * 64, "0" * 63])
def test_a_checksum_becomes_a_file_name_only_if_it_is_one(tmp_path: Path, sha256: str) -> None:
    lfs = SimpleNamespace(sha256=sha256)
    files = {"model.safetensors": SimpleNamespace(size=700, lfs=lfs, rfilename="model.safetensors")}
    source = weights.source("owner/name")
    by = Fetcher(tmp_path, "http://127.0.0.1:9", offline=False, say=quiet)
    with pytest.raises(ValueError, match="is no sha256"):
        fetch._receive("owner/name", source, "0" * 40, files, by)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("name", ["..", "../..", "owl_vit/..", "/etc", ".", ""])
def test_what_ships_is_named_by_its_name(name: str) -> None:
    with pytest.raises(SettingsError, match="no embedded checkpoint"):
        weights.resolve(f"embedded:{name}")


NOTHING = ["\ud800", "a\x00b", "/a\x00.pth", "a\nb", "a" * 300, "/" + "b/" * 3000, "~nobody_here/x"]


@pytest.mark.parametrize("model", NOTHING, ids=range(len(NOTHING)))
def test_what_can_not_name_anything_is_refused(model: str) -> None:
    for ask in (weights.resolve, weights.revision, weights.pinned, weights.digest):
        with pytest.raises(SettingsError, match="can not be the name of a model"):
            ask(model)
    with pytest.raises(SettingsError, match="can not be the name of a model"):
        presence.look(model, ())


PLACES = [
    "../../nothing/here",
    "/dev/zero",
    "/",
    "~",
    "http://x/y",
    "$(touch x)",
    "open_clip:",
    "@",
    "",
]


@pytest.mark.parametrize("model", PLACES, ids=range(len(PLACES)))
def test_what_is_no_model_is_known_as_absent(tmp_path: Path, model: str) -> None:
    environment = {"HF_HUB_CACHE": str(tmp_path)}
    assert not presence.look(model, (), environment).here
    assert weights.pinned(model, environment) == model


def test_a_folder_that_is_no_checkpoint_is_not_read_through(tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("secret")
    assert weights.digest(str(tmp_path)) == f"absent:{tmp_path}"
    assert weights.digest("/") == "absent:/"
