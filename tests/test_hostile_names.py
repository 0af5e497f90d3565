"""Names and places of files that break scripts: each becomes a row that can be read again."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest
from rich.table import Table

from grand_pipeline import accounts, build, cli, images, ingest, lock, terminal
from grand_pipeline.cli.options import console
from grand_pipeline.columns import ImageRow
from grand_pipeline.errors import UserError
from grand_pipeline.store import Run
from tests.fakes import png

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
pytestmark = linux

RED = "\x1b[31mred"
NAMES: dict[str, bytes | str] = {
    "newline": "new\nline.png",
    "newline that fakes a line": "a.png\nunreadable: b.png",
    "tab and return": "ta\tb\r.png",
    "leading dash": "-rf.png",
    "option": "--out=x.png",
    "percent": "%2e%2e%2fup.png",
    "percent alone": "100%.png",
    "fragment and query": "a#b?c=1&d.png",
    "blanks": " lead and trail ",
    "quotes": 'it\'s "so" `id` $HOME;.png',
    "backslash": "a\\..\\b.png",
    "glob": "*[a]{b}?.png",
    "markup": "[red]x[nothing].png",
    "page": "<img src=x onerror=alert(1)>.png",
    "sheet": "=1+1.png",
    "emoji": "\U0001f600\u200d\U0001f4bb.png",
    "composed": "caf\u00e9.png",
    "decomposed": "cafe\u0301.png",
    "no text": b"caf\xe9 %41.png",
    "no text either": b"\xff\xfe\xed\xa0\x80.png",
    "colours": f"{RED}.png",
    "title": "\x1b]0;owned\x07.png",
    "short sequence": "\u009b31m.png",
    "turned": "\u202egnp.exe",
    "line separator": "a\u2028b\u0085c.png",
    "blank that is none": "a\u00a0b\u200b.png",
    "controls": "\x01\x7f\x08.png",
    "upper case": "CASE.png",
    "lower case": "case.png",
    "255 bytes": "\u00e9" * 125 + "x.png",
    "bucket": "s3:",
    "scheme": "file:x.png",
    "list": "names.txt",
    "tilde": "~",
    "at": "@list",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture of its own under each name, one in a folder like a URI, one in one of no text."""
    root = tmp_path / "pictures"
    named = [os.fsencode(name) for name in NAMES.values()]
    for number, name in enumerate([*named, b"s3:/bucket/x.png", b"\xff/x.png", b"dir.png/x"]):
        path = os.path.join(os.fsencode(root), name if number < len(named) else b"z" + name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(png(number))
    return root


def rows_of(*source: str) -> tuple[ImageRow, ...]:
    return ingest.ingest(ingest.discover(list(source))).rows


def assert_read_again(rows: tuple[ImageRow, ...], count: int) -> None:
    """Every row leads to its content, and its texts are texts."""
    assert len({row.uri for row in rows}) == len({row.image_id for row in rows}) == count
    for row in rows:
        assert (row.error, row.duplicates) == (None, ())
        assert ingest.content_id(images.read_bytes(row.uri)) == row.image_id
        assert row.uri.encode().decode() == row.uri


def test_every_name_is_a_row_that_leads_back_to_its_file(folder: Path) -> None:
    rows = rows_of(str(folder))
    assert_read_again(rows, len(NAMES) + 3)
    assert rows_of(folder.as_uri()) == rows
    assert sorted(rows, key=str) == sorted(rows_of(f"{folder}/**"), key=str)


def test_rows_survive_the_run(folder: Path) -> None:
    run = Run.create(folder.parent / "run", {"name": "fake", "description": "", "stages": {}})
    build.add_images(run, [str(folder)], 10)
    assert_read_again(tuple(run.images()), len(NAMES) + 3)
    assert list(accounts.departed(run)) == []
    build.add_images(run, [str(folder)], 10)
    assert len(list(run.images())) == len(NAMES) + 3


@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_a_file_named_alone_and_in_a_list(folder: Path, name: bytes | str) -> None:
    path = os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name)))
    alone = rows_of(path) if name != "names.txt" else rows_of(path, str(folder / "s3:"))[:1]
    listing = folder.parent / "list.txt"
    given = os.fsencode(path) if b"\n" not in os.fsencode(name) else Path(path).as_uri().encode()
    listing.write_bytes(b"\xef\xbb\xbf" + given + b"\r\n\n")
    if name != "names.txt":  # A list that is named is read as one.
        assert_read_again(alone, 1)
        assert rows_of(str(listing)) == rows_of(f"@{listing}") == alone
    else:
        assert_read_again(rows_of(str(listing)), 1)


def test_what_is_no_file_is_a_row_with_its_reason(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    root.mkdir()
    (root / "loop").symlink_to("loop")
    (root / "circle").symlink_to("circled")
    (root / "circled").symlink_to("circle")
    (root / "dangling").symlink_to("nowhere.png")
    (root / "device.png").symlink_to("/dev/zero")
    (root / "through a file").symlink_to("empty.png/x")
    (root / "too long").symlink_to("x" * 300)
    (root / "empty.png").write_bytes(b"")
    os.mkfifo(root / "pipe.png")
    with (root / "huge.png").open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.png"))
    reasons = {Path(row.uri).name: str(row.error) for row in rows_of(str(root))}
    expected = {
        **{name: "Too many levels" for name in ("loop", "circle", "circled")},
        **{"dangling": "No such file", "device.png": "a device", "pipe.png": "a pipe"},
        **{"through a file": "Not a directory", "too long": "File name too long"},
        **{"empty.png": "empty", "huge.png": "more bytes", "socket.png": "a socket"},
    }
    assert reasons.keys() == expected.keys()
    assert all(expected[name] in reason for name, reason in reasons.items())
    for name in expected.keys() - {"empty.png"}:
        (row,) = rows_of(str(root / name))
        assert row.error == reasons[name], "named alone, it is refused for the same reason"


def test_a_link_leads_where_the_file_system_says(tmp_path: Path) -> None:
    """Read as text, `link/..` would be the folder of the link."""
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "far" / "x.png").write_bytes(png(1))
    (tmp_path / "link").symlink_to("far/inner")
    for source in ("link/../x.png", "link/..", "link/../*.png"):
        (row,) = rows_of(f"{tmp_path}/{source}")
        assert (row.uri, row.error) == (str(tmp_path / "far" / "x.png"), None)


def test_links_in_circles_do_not_multiply(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(png(1))
    for name in ("one", "two", "three"):
        (tmp_path / "a" / name).symlink_to(tmp_path)
    os.link(tmp_path / "a" / "x.png", tmp_path / "a" / "y.png")
    for source in ("", "/**/*.png", "/**", "/*/**/?.png"):
        (row,) = rows_of(f"{tmp_path}{source}")
        assert (row.uri, row.duplicates) == (f"{tmp_path}/a/x.png", (f"{tmp_path}/a/y.png",))


def test_folders_deeper_than_calls(tmp_path: Path) -> None:
    folders = [tmp_path / "d"]
    for _ in range(sys.getrecursionlimit() + 50):
        folders[-1].mkdir()
        folders.append(Path(f"{folders[-1]}/d"))
    file = folders.pop().parent / "x.png"
    file.write_bytes(png(1))
    assert_read_again(rows_of(str(tmp_path)), 1)
    file.unlink()
    for folder in reversed(folders):  # What cleans up after tests calls itself for each folder.
        folder.rmdir()


def test_a_large_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(png(1))
    for number in range(5000):
        os.link(tmp_path / "x", tmp_path / f"{number}")
    assert len(list(ingest.discover(str(tmp_path)))) == 5001


def test_a_list_of_nonsense(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    listing = folder / "list.txt"
    listing.write_bytes(b"nul\0.png\n\n  \nftp\xff://x\n\xff\xfe\n../\n" + b"x" * 5000)
    rows = rows_of(str(listing))
    assert all(row.error and row.uri.encode() for row in rows)
    ends = ("/nul\0.png", r"ftp\xff://x", "%FF%FE", "/lists/list.txt", "x" * 5000)
    assert [row.uri.endswith(end) for row, end in zip(rows, ends, strict=True)] == [True] * 5


# What is printed


def said(*arguments: str) -> tuple[str, str]:
    """Stdout and stderr of a command, as a terminal would get them."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), suppress(SystemExit):
        cli.main(list(arguments))
    return out.getvalue(), err.getvalue()


def obeyed(text: str) -> str:
    """The characters that a terminal would take for orders, and those that no stream takes."""
    return "".join(letter for letter in text if terminal.printable(letter) != letter)


@pytest.fixture
def ruined(folder: Path) -> Path:
    """A run of nothing but unreadable pictures under those names."""
    for path in folder.iterdir():
        if path.is_file():
            path.write_bytes(os.fsencode(path))
    run = Run.create(folder.parent / "run", {"name": "fake", "description": "", "stages": {}})
    with lock.hold(run.root):
        build.add_images(run, [str(folder)], 100)
    return folder.parent / "run"


def test_status_of_hostile_names(ruined: Path) -> None:
    out, err = said("status", str(ruined))
    assert (obeyed(out), err) == ("", "")
    listed = [line for line in out.splitlines() if line.startswith("unreadable: ")]
    assert len(listed) == len(NAMES), "a name with a newline fakes no line of its own"
    assert any(r"\u001b[31mred.png" in line for line in listed)


def test_status_as_json_of_hostile_names(ruined: Path) -> None:
    for path in (ruined.parent / "pictures").iterdir():
        if path.is_file():
            path.unlink()
    out, _ = said("status", str(ruined), "--json")
    assert obeyed(out) == ""
    report = json.loads(out)
    assert report["found"] == len(NAMES) + 3 == report["unreadable"] + report["pending"]


@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_errors_about_hostile_names(tmp_path: Path, name: bytes | str) -> None:
    gone = os.fsdecode(os.path.join(os.fsencode(tmp_path), os.fsencode(name)))
    out, err = said("status", gone)
    assert (obeyed(out + err), out) == ("", "")
    assert err.startswith("grand: ")
    with pytest.raises(UserError):
        rows_of(gone)


def test_a_terminal_shows_its_own_colours_and_no_others() -> None:
    shown = terminal.Terminal(file=io.StringIO(), force_terminal=True, width=60)
    table = Table("name", title=RED)
    table.add_row(RED)
    shown.print(table)
    shown.print("[green]own[/]", RED, style="blue", highlight=False)
    assert isinstance(shown.file, io.StringIO)
    printed = shown.file.getvalue()
    assert printed.count(r"\u001b[31mred") == 3
    assert RED not in printed
    assert "\x1b[" in printed
    assert isinstance(console(), terminal.Terminal)


def test_printable_json_is_the_same_json() -> None:
    text = "".join(map(chr, [*range(0x100), 0x202E, 0x2028, 0xD800, 0x1F600]))
    plain = json.dumps({"a": text}, ensure_ascii=False, indent=2)
    assert obeyed(terminal.printable(plain)) == ""
    assert json.loads(terminal.printable(plain)) == {"a": text}
    assert terminal.printable("grüße \U0001f600\n\t字") == "grüße \U0001f600\n\t字"


def test_everything_is_printed_through_one_place() -> None:
    for path in Path(cli.__file__).parents[1].rglob("*.py"):
        if path.name not in ("options.py", "terminal.py"):
            text = path.read_text()
            assert "typer.echo(" not in text, path
            assert " Console(" not in text, path
