"""Damaged picture files without end, the same ones every time: file `n` is a function of `n`.

Run as a program, it looks at those of a range.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from grand_pipeline import accounts, build, images, lock, memory
from grand_pipeline.errors import ImageError
from grand_pipeline.plan import make_plan
from grand_pipeline.store import Run
from grand_pipeline.terminal import printable
from tests.fakes import Brightness, Caption, Graph, annotate_all
from tests.pictures import png_chunk, saved

_PNG = b"\x89PNG\r\n\x1a\n"
_WORDS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
"""What lengths, counts and offsets are set to."""


@lru_cache(maxsize=1)
def seeds() -> dict[str, bytes]:
    """Small whole pictures of every format that is read here, many of its ways to store them."""
    images.probe(saved(_noise(), "BMP"))  # Registers the HEIC opener where it is installed.
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    made = {**_lossless(exif), **_lossy(exif)}
    # Not every installation writes (or reads) AVIF and HEIC.
    for format in {"AVIF", "HEIF"} & set(Image.SAVE):
        made[format.lower()] = saved(_noise(), format)
    return made


def _lossless(exif: Image.Exif) -> dict[str, bytes]:
    noise, palette = _noise(), _noise().convert("P")
    deep = Image.fromarray(np.arange(48 * 32, dtype=np.uint16).reshape(32, 48) * 40)
    frames = {"save_all": True, "append_images": [palette.rotate(90)]}
    made = {
        "png": saved(noise, "PNG", exif=exif, icc_profile=bytes(200)),
        "png palette": saved(palette, "PNG", transparency=bytes(range(256))),
        "png deep": saved(deep, "PNG"),
        "png alpha": saved(noise.convert("RGBA"), "PNG"),
        "gif": saved(palette, "GIF", transparency=3),
        "gif animated": saved(palette, "GIF", **frames),
        "bmp": saved(noise, "BMP"),
        "bmp palette": saved(palette, "BMP"),
        "ppm": saved(noise, "PPM"),
        "tiff": saved(noise, "TIFF", exif=exif),
        "tiff deep": saved(deep, "TIFF"),
        "tiff float": saved(noise.convert("F"), "TIFF"),
        "tiff frames": saved(palette, "TIFF", **frames),
        "tiff cmyk": saved(noise.convert("CMYK"), "TIFF", compression="tiff_lzw"),
    }
    for way in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"):
        mode = "1" if way == "group4" else "RGB"
        made[f"tiff {way}"] = saved(noise.convert(mode), "TIFF", compression=way)
    return made


def _lossy(exif: Image.Exif) -> dict[str, bytes]:
    noise = _noise()
    return {
        "jpeg": saved(noise, "JPEG", exif=exif, icc_profile=bytes(200)),
        "jpeg progressive": saved(noise, "JPEG", progressive=True),
        "jpeg cmyk": saved(noise.convert("CMYK"), "JPEG"),
        "jpeg restarts": saved(noise.convert("L"), "JPEG", restart_marker_blocks=2),
        "mpo": saved(noise, "MPO", save_all=True, append_images=[noise.rotate(90)]),
        "webp": saved(noise, "WEBP", exif=exif),
        "webp lossless": saved(noise.convert("RGBA"), "WEBP", lossless=True),
        "webp animated": saved(noise, "WEBP", save_all=True, append_images=[noise.rotate(90)]),
    }


def _noise() -> Image.Image:
    """Noise over a ramp: no run of equal bytes, no smooth place."""
    values = np.random.default_rng(5).integers(0, 90, (32, 48, 3)) + np.arange(48)[:, None] * 3
    return Image.fromarray(values.astype(np.uint8))


def damaged(number: int) -> tuple[str, bytes]:
    """The name of the seed, and file `number`: a seed with one to four kinds of damage."""
    random = Random(number)
    names = sorted(seeds())
    name = names[number % len(names)]
    data = seeds()[name]
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        data = random.choice(_WAYS)(data, random)
    if data.startswith(_PNG) and random.random() < 0.7:
        data = _sound_checksums(data)
    return name, data


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 8) if changed else 0):
        changed[_place(data, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randint(0, len(data))]


def _set_number(data: bytes, random: Random) -> bytes:
    """Another length, count, size or offset, in either order of bytes."""
    at, size = _place(data, random), random.choice((1, 2, 4))
    number = random.choice((*_WORDS, random.getrandbits(32), len(data)))
    order = random.choice(("big", "little"))
    new = number.to_bytes(8, "big")[-size:]
    new = new if order == "big" else new[::-1]
    return data[:at] + new + data[at + size :]


def _remove(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 50)) + data[end:]


def _swap(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    to = random.randint(end, len(data))
    return data[:start] + data[end:to] + data[start:end] + data[to:]


def _splice(data: bytes, random: Random) -> bytes:
    """The head of this file, the tail of another."""
    other = seeds()[random.choice(sorted(seeds()))]
    return data[: _place(data, random)] + other[_place(other, random) :]


def _noise_bytes(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    new = random.randbytes(random.randint(1, 64))
    return data[:at] + new + data[at + random.choice((0, len(new))) :]


_WAYS: Sequence[Callable[[bytes, Random], bytes]] = (
    *(_flip, _cut, _set_number, _set_number, _remove),
    *(_repeat, _swap, _splice, _noise_bytes),
)


def _place(data: bytes, random: Random) -> int:
    """Half of the damage is done near the beginning, where files say what they are."""
    within = min(len(data), 160) if random.random() < 0.5 else len(data)
    return random.randrange(within) if within else 0


def _span(data: bytes, random: Random) -> tuple[int, int]:
    start = _place(data, random)
    return start, min(len(data), start + random.choice((1, 2, 4, 12, 64, 300)))


def _sound_checksums(data: bytes) -> bytes:
    """So that the damage in a PNG is not just found by its checksums."""
    made, at = [_PNG], len(_PNG)
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        if len(body) < size:
            return b"".join([*made, data[at:]])
        made.append(png_chunk(kind, body))
        at += 12 + size
    return b"".join(made)


PLAN = make_plan([Brightness(), Caption(), Graph()])


def built(root: Path, folder: Path) -> Run:
    """A run of these pictures, annotated by fake stages in shards of five hundred."""
    run = Run.create(root, {"name": "fake", "description": "", "stages": {}})
    with lock.hold(root):
        build.add_images(run, [str(folder)], 500)
    annotate_all(run, PLAN)
    return run


def accounted_for(root: Path, count: int) -> dict[str, int]:
    """What becomes of so many of these files, and a copy of each hundredth, in a run of fake stages
    that decode them all."""
    folder = root / "damaged"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(damaged(number)[1])
        if number % 100 == 0:
            (folder / f"{number} again.jpg").write_bytes(damaged(number)[1])
    run = built(root / "run", folder)
    failed = {image for ids in build.failed_images(run, PLAN).values() for image in ids}
    return accounts.account(run, failed, PLAN.fingerprint)


def looked_at(data: bytes, max_pixels: int = 4_000_000) -> tuple[int, int] | str:
    """The size of the picture, or the reason why it is none, after everything that holds for any
    file was seen to hold."""
    try:
        image = images.decode(data, max_pixels=max_pixels)
    except ImageError as error:
        with pytest.raises(ImageError) as again:
            images.probe(data, max_pixels=max_pixels)
        assert str(again.value) == str(error)
        str(error).encode()
        assert printable(str(error)) == str(error)
        return str(error)
    probe = images.probe(data, max_pixels=max_pixels)
    assert (probe.width, probe.height) == image.size
    assert image.mode == "RGB"
    assert min(image.size) >= images.MIN_SIDE
    smaller = images.decode(data, max_pixels=max_pixels, scale=0.4)
    assert all(0.4 * a <= b <= a for a, b in zip(image.size, smaller.size, strict=True))
    return image.size


def look_at(first: int, last: int, note: Path) -> dict[str, float]:
    """Look at these files, each within ten seconds and noted before; how many are pictures, the
    longest second and the MB by which the process grew after the first fifth."""
    count, longest, settled = 0, 0.0, 0.0
    with note.open("r+b", buffering=0) as place:
        for number in range(first, last):
            _, data = damaged(number)
            os.pwrite(place.fileno(), f"{number:12}".encode(), 0)
            signal.setitimer(signal.ITIMER_REAL, 10.0)  # Nothing catches it.
            began = time.monotonic()
            count += not isinstance(looked_at(data), str)
            longest = max(longest, time.monotonic() - began)
            if number == first + (last - first) // 5:
                settled = memory.resident() / 1e6
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return {"pictures": count, "longest": longest, "grown_mb": memory.resident() / 1e6 - settled}


if __name__ == "__main__":
    warnings.simplefilter("always")  # Any that is not silenced is seen on stderr.
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    print(json.dumps(look_at(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
