"""What decoders would let through: endless work, giant memory, pictures with parts missing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from grand_pipeline import guard, images, rgb
from grand_pipeline.errors import ImageError
from tests import bombs
from tests.pictures import half, noise, saved


def weighed(files: Sequence[Path], limit_mb: int = 3000) -> dict[str, Any]:
    """What a process that has so much address space makes of these files."""
    command = [sys.executable, "-m", "tests.bombs", str(limit_mb), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_bombs_are_refused_with_a_reason_or_cost_nothing(tmp_path: Path) -> None:
    makers = {name: make for name, (make, _) in bombs.REFUSED.items()}
    for name, make in {**makers, **bombs.HARMLESS}.items():
        (tmp_path / name).write_bytes(make())
    found = weighed(sorted(tmp_path.iterdir()))
    for name, (_, reason) in bombs.REFUSED.items():
        with pytest.raises(ImageError, match=reason):
            raise ImageError(found[name]["came"])
    assert {found[name]["came"] for name in bombs.HARMLESS} == {"64 x 64"}
    assert max(one["mb"] for one in found.values()) < 100
    assert max(one["seconds"] for one in found.values()) < 30


def test_a_progressive_jpeg_with_a_preview_and_bytes_behind_it_is_not_refused() -> None:
    plain = saved(noise(), "JPEG", progressive=True)
    scan = b"\xff\xda\0\2"
    for kind in (b"\xff\xe5", b"\xff\xfe"):
        body = scan * 200 + b"\xff\xd9"
        segment = kind + (len(body) + 2).to_bytes(2) + body
        assert images.probe(plain[:2] + segment + plain[2:] + scan * 200).width == 64
    with pytest.raises(ImageError, match="scans"):
        images.probe(bombs.jpeg_of_scans(16, guard.MAX_SCANS))


def test_a_jpeg_that_ends_in_its_headers_is_refused_like_any_other() -> None:
    whole = saved(noise(), "JPEG")
    scan = whole.index(b"\xff\xda")
    for length in range(2, scan + 14):
        with pytest.raises(ImageError):
            images.probe(whole[:length] + b"\xff\xd9")


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_whose_end_was_never_written_is_refused(format: str, share: float) -> None:
    """Decoders take the zeros for pixels: half a picture, half grey or noise."""
    whole = saved(noise(), format, quality=95)
    written = int(share * len(whole))
    for tail in (0, 50_000):
        with pytest.raises(ImageError, match="damaged or truncated"):
            images.decode(whole[:written] + bytes(len(whole) - written + tail))


def test_zeros_behind_the_end_are_no_damage() -> None:
    for format in ("JPEG", "PNG", "GIF", "WEBP"):
        image = images.decode(saved(noise(), format) + bytes(5000))
        assert image.tobytes() == images.decode(saved(noise(), format)).tobytes()


def test_every_cut_is_refused_or_loses_no_pixel() -> None:
    for format in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"):
        whole = saved(noise(), format)
        pixels = images.decode(whole).tobytes()
        for length in {*range(0, len(whole), len(whole) // 40), len(whole) - 2, len(whole) - 1}:
            try:
                found = images.decode(whole[:length])
            except ImageError:
                continue
            assert found.tobytes() == pixels, (format, length)


def test_pictures_wait_for_room() -> None:
    """Together they never have more pixels than allowed, but the largest is not kept out."""
    sides = (guard.PIXELS_AT_ONCE, guard.PIXELS_AT_ONCE // 2, guard.PIXELS_AT_ONCE // 3, 10) * 8
    lock, now, most = threading.Lock(), [0], [0]

    def decode(pixels: int) -> None:
        with guard.room(pixels):
            with lock:
                now[0] += pixels
                most[0] = max(most[0], now[0])
            time.sleep(0.002)
            with lock:
                now[0] -= pixels

    threads = [threading.Thread(target=decode, args=(side,)) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= guard.PIXELS_AT_ONCE
    assert guard._decoding == 0


def test_a_picture_for_which_there_is_no_memory_is_looked_at_again_later(tmp_path: Path) -> None:
    """It is not called damaged, and the others are not touched."""
    (tmp_path / "large.gif").write_bytes(bombs.gif_of_canvas(bombs.SIDE))
    (tmp_path / "small.png").write_bytes(saved(noise(), "PNG"))
    (found,) = weighed([tmp_path], 1400).values()
    assert found["came"] == "64 x 64, not enough memory to read and decode it"


def test_room_is_given_back_by_a_picture_that_fails() -> None:
    with pytest.raises(ImageError):
        images.decode(half(saved(noise(), "BMP")))
    assert guard._decoding == 0


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "La", "PA", "I", "F", "I;16"])
def test_a_picture_in_bands_is_the_whole_one(mode: str) -> None:
    """A tall one is converted band by band, and the same as in one go."""
    height = 2 * rgb._BAND // 1000 + 17
    values = np.random.default_rng(1).integers(0, 65536, (height, 1000), dtype=np.uint16)
    values[0, 0], values[-1, -1] = 0, 65535
    deep = {"I": np.int32, "F": np.float32, "I;16": np.uint16}
    if mode in deep:
        tall = Image.fromarray(values.astype(deep[mode]))
    else:
        grey = Image.fromarray((values >> 8).astype(np.uint8))
        tall = grey.convert("P") if mode == "P" else grey.convert("LA").convert(mode)
        tall.info["transparency"] = 5
    band = tall.crop((0, rgb._BAND // 1000 - 5, 1000, rgb._BAND // 1000 + 5))
    if mode in deep:  # So that the piece has the limits of the whole.
        band.putpixel((0, 0), 0)
        band.putpixel((1, 0), 65535)
    found = rgb.rgb(tall).crop((0, rgb._BAND // 1000 - 5, 1000, rgb._BAND // 1000 + 5))
    assert found.tobytes()[6:] == rgb.rgb(band).tobytes()[6:]
