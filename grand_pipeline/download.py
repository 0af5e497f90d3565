"""A file fetched by its address: goes on where it stopped, is checked, and then is in place."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from grand_pipeline.errors import MissingDependencyError
from grand_pipeline.zoo.files import PublishedFile

if TYPE_CHECKING:
    import httpx

_PART = ".incomplete"
_TIMEOUT = 30.0
_REDIRECTS = 8
_SPAN = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")
_STEP = 0.1
"""Of the file, between two lines about how far it is."""


def fetch(
    file: PublishedFile,
    place: Path,
    say: Callable[[str], None],
    headers: Mapping[str, str] | None = None,
) -> None:
    """Fetch `file` to `place`, unless it is there.

    Args:
        file: its address, and its length and checksum where they are known.
        place: its path in the end; what came of it so far lies beside it.
        say: told how far it is, line by line.
        headers: sent to the address, and to nobody it sends us on to elsewhere if it is a key.

    Raises MissingDependencyError when it can not be reached, was cut short (what came is kept) or
    is not the file that was published (nothing is kept).
    """
    import httpx

    if place.is_file():
        return
    part = place.with_name(place.name + _PART)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with (
            part.open("ab") as out,
            httpx.Client(
                follow_redirects=True,
                max_redirects=_REDIRECTS,
                timeout=_TIMEOUT,
                headers=headers,
            ) as client,
        ):
            _lock(out)
            _receive(client, file, out, say)
    except (httpx.HTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise MissingDependencyError(
            f"{file.name} could not be fetched from {file.url}: {reason}. Run the command again "
            f"to go on where it stopped, or put the file at {place} yourself"
        ) from error
    _check(file, part)
    part.replace(place)
    checked = "" if file.sha256 else "; nobody here knows its checksum"
    say(f"{file.name}: fetched{checked}")


def _lock(out: BinaryIO) -> None:
    """Keep other processes from writing to the same file as long as it is open."""
    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError("another process is fetching it just now") from None


def _receive(
    client: httpx.Client, file: PublishedFile, out: BinaryIO, say: Callable[[str], None]
) -> None:
    """Bring `out`, open for appending, to its full length."""
    held = out.seek(0, os.SEEK_END)
    if file.bytes is not None and held == file.bytes:
        return
    header = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    with client.stream("GET", file.url, headers=header) as response:
        if (
            held and response.status_code == 416
        ):  # nothing is left to send, or the file became another
            if response.headers.get("Content-Range") == f"bytes */{held}":
                return
            out.truncate(0)
            return _receive(client, file, out, say)
        response.raise_for_status()
        if file.url.startswith("https:") and response.url.scheme != "https":
            raise OSError(f"it was sent on to {response.url}, where anybody can change it")
        if response.status_code != 206:
            held = 0
            out.truncate(0)
        length = _length(file, response, held)
        begun = f"goes on at {held / 1e6:.1f}" if held else "begins, 0"
        say(f"{file.name}: {begun} of {length / 1e6:.1f} MB")
        for told in _written(response.iter_raw(), out, held, length):
            say(f"{file.name}: {told}")
    held = out.tell()
    if held < length:
        raise OSError(f"cut short at {held} of {length} bytes")


def _length(file: PublishedFile, response: httpx.Response, held: int) -> int:
    """How long the whole file is, so that what is sent has an end that was known beforehand.

    Raises OSError where the answer is about another file or another part of it.
    """
    span = _SPAN.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code == 206 and (span is None or int(span[1]) != held):
        raise OSError(f"another part than the one from byte {held} on was sent")
    told = response.headers.get("Content-Length")
    length = file.bytes if told is None else int(told) + held
    if length is None:
        raise OSError("nobody says how long the file is")
    if file.bytes not in (None, length):
        raise OSError(f"{length} bytes are sent, and the file has {file.bytes}")
    return length


def _written(blocks: Iterable[bytes], out: BinaryIO, held: int, length: int) -> Iterator[str]:
    """How far it is, now and then, while the blocks are written."""
    began, first, told = time.monotonic(), held, held
    for block in blocks:
        if held + len(block) > length:
            raise OSError(f"more than its {length} bytes are sent")
        out.write(block)
        held += len(block)
        if held - told >= length * _STEP and held < length:
            told = held
            rate = (held - first) / max(time.monotonic() - began, 1e-9)
            left = (length - held) / rate
            yield f"{held / length:.0%}, {rate / 1e6:.1f} MB/s, {left:.0f} s left"


def _check(file: PublishedFile, part: Path) -> None:
    with part.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    size = part.stat().st_size
    if (file.bytes or size) != size or (file.sha256 or found) != found:
        part.unlink()
        raise MissingDependencyError(
            f"{file.url} gave {size} bytes with sha256 {found}, which is not the file that was "
            f"published ({file.bytes} bytes, {file.sha256}); it was thrown away. Run the command "
            "again, or fetch the file in another way"
        )
