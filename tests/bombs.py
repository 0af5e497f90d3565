"""Files of a few bytes that ask for gigabytes or minutes. Run as a program, it weighs them."""

from __future__ import annotations

import json
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from grand_pipeline import images, ingest
from grand_pipeline.errors import ImageError
from tests.pictures import noise, png, png_chunk, saved

_MB = 1 << 20
Field = tuple[int, int, int, int]
"""Tag, type, count and value of a TIFF."""


def deflated_zeros(size: int) -> bytes:
    """So many zero bytes, deflated to a thousandth."""
    packer, block = zlib.compressobj(9), bytes(_MB)
    parts = [packer.compress(block) for _ in range(size // _MB)]
    return b"".join([*parts, packer.compress(bytes(size % _MB)), packer.flush()])


def grey_png(rows: bytes = b"", before: bytes = b"", side: int = 64) -> bytes:
    """A grey PNG with these deflated rows, and chunks before them."""
    plain = png(side, side)
    header = plain[: 8 + 25]
    packed = rows or zlib.compress(bytes(side * (side + 1)))
    return header + before + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def text_bomb(kind: bytes, head: bytes, size: int, times: int = 1) -> bytes:
    """A PNG whose metadata grow when they are inflated."""
    return grey_png(before=png_chunk(kind, head + deflated_zeros(size)) * times)


def tiff(fields: Sequence[Field], following: int = 0) -> bytes:
    """A TIFF of 64 x 64 grey pixels, but for what `fields` say otherwise."""
    plain: list[Field] = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1)]
    plain += [(262, 3, 1, 1), (273, 4, 1, 200), (277, 3, 1, 1), (278, 4, 1, 64), (279, 4, 1, 4096)]
    held = {field[0]: field for field in [*plain, *fields]}
    entries = b"".join(struct.pack("<HHII", *held[tag]) for tag in sorted(held))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(held)) + entries + struct.pack("<I", following)
    return head.ljust(200, b"\0") + bytes(4096)


def overlapping_tags(tags: int, size: int) -> bytes:
    """Metadata in which every tag holds the same bytes: a thousand times what the file holds."""
    start = 8 + 2 + 12 * tags + 4
    entries = b"".join(struct.pack("<HHII", 40_000 + i, 7, size, start) for i in range(tags))
    head = struct.pack("<2sHIH", b"II", 42, 8, tags) + entries + struct.pack("<I", 0)
    return head + bytes(size)


def jpeg_with_exif(block: bytes) -> bytes:
    """EXIF over as many segments as it takes."""
    plain = saved(noise(), "JPEG")
    pieces = [b"Exif\0\0" + block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in pieces)
    return plain[:2] + segments + plain[20:]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG that says it is larger than it is."""
    plain = saved(noise(), "JPEG")
    at = plain.index(b"\xff\xc0") + 5
    return plain[:at] + struct.pack(">HH", height, width) + plain[at + 4 :]


def jpeg_of_scans(side: int, repeats: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    plain = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = plain[plain.rindex(b"\xff\xda") : -2]
    return plain[:-2] + last * repeats + plain[-2:]


def gif_of_frames(count: int) -> bytes:
    """A GIF with a frame so many times."""
    plain = saved(Image.new("P", (64, 64)), "GIF")
    frame = plain.index(b",")
    return plain[:frame] + plain[frame:-1] * count + b";"


def gif_of_canvas(side: int) -> bytes:
    """A small frame on a giant canvas."""
    return b"GIF89a" + struct.pack("<HH", side, side) + saved(noise().convert("P"), "GIF")[10:]


def bmp(side: int, compression: int, body: bytes = b"") -> bytes:
    """A BMP of 8 bits with hardly any pixels."""
    head = struct.pack("<IHHI", 1078, 0, 0, 1078)
    size = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, compression, 0, 0, 0, 256, 0)
    return b"BM" + head + size + bytes(1024) + body


def webp_of_canvas(side: int) -> bytes:
    """An extended WebP that says how large it will be, and nothing else."""
    size = (side - 1).to_bytes(3, "little") * 2
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + size
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def boxed(format: str, side: int) -> bytes:
    """A HEIC or AVIF that says it is larger than it is."""
    images.probe(saved(noise(), "PNG"))  # Registers the writer.
    plain = saved(noise(), format)
    at = plain.index(b"ispe") + 8
    return plain[:at] + struct.pack(">II", side, side) + plain[at + 8 :]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "png 100,000 x 100,000": (lambda: png(100_000, 100_000), "decompression bomb"),
    "png text": (lambda: text_bomb(b"zTXt", b"a\0\0", 50 * _MB), "too large"),
    "png profile": (lambda: text_bomb(b"iCCP", b"a\0\0", 50 * _MB), "too large"),
    "png xmp": (
        lambda: text_bomb(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0", 50 * _MB),
        "too large",
    ),
    "png many texts": (lambda: text_bomb(b"zTXt", b"a\0\0", _MB // 2, 300), "Too much memory"),
    "tiff size": (lambda: tiff([(256, 4, 1, 100_000), (257, 4, 1, 100_000)]), "decompression bomb"),
    "gif canvas": (lambda: gif_of_canvas(65_535), "decompression bomb"),
    "jpeg size": (lambda: jpeg_of_size(65_500, 65_500), "decompression bomb"),
    "jpeg scans": (lambda: jpeg_of_scans(2_000, 5_000), "50[0-9][0-9] scans"),
    "bmp size": (lambda: bmp(60_000, 0), "decompression bomb"),
    "bmp of skips": (lambda: bmp(13_000, 1, b"\0\2\0\0" * 1000), "damaged"),
    "webp canvas": (lambda: webp_of_canvas(1 << 24), "not an image|bomb"),
    "heic size": (lambda: boxed("HEIF", 60_000), "not an image|bomb|damaged"),
    "heic size within limits": (lambda: boxed("HEIF", 13_000), "not an image|damaged"),
    "avif size": (lambda: boxed("AVIF", 60_000), "not an image|bomb|damaged"),
    "ppm without pixels": (lambda: b"P5 13000 13000 255\n" + bytes(10), "truncated"),
    "ppm of comments": (lambda: b"P5 " + b"#\n" * (5 * _MB), "no size"),
    "ppm of one comment": (lambda: b"P5 #" + bytes(10 * _MB), "no size"),
}
"""How each is made, and the reason that it is refused for."""

HARMLESS: dict[str, Callable[[], bytes]] = {
    "png pixels without end": lambda: grey_png(deflated_zeros(100 * _MB)),
    "png exif": lambda: grey_png(before=png_chunk(b"eXIf", overlapping_tags(4000, _MB))),
    "png orientations": lambda: grey_png(
        before=png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"tiff:Orientation" * 50_000)
    ),
    "png chunks": lambda: grey_png(before=png_chunk(b"abCd", b"") * 50_000),
    "jpeg exif": lambda: jpeg_with_exif(overlapping_tags(4000, _MB)),
    "tiff exif": lambda: tiff([(34665, 4, 1, 8)]),
    "tiff count": lambda: tiff([(258, 3, 2**32 - 1, 8)]),
    "tiff in a circle": lambda: tiff([], following=8),
    "gif of 50,000 frames": lambda: gif_of_frames(50_000),
}
"""What asks for much that is not needed, and is decoded without it."""


SIDE = 13_300
"""Pixels of a side of the largest pictures: just below the limit."""


def _large_png(depth: int, color: int, bits: int) -> bytes:
    rows = deflated_zeros(SIDE * (1 + SIDE * bits // 8))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def _large(mode: str, format: str, **options: Any) -> bytes:
    return saved(Image.new(mode, (SIDE, SIDE)), format, **options)


LARGEST: dict[str, Callable[[], bytes]] = {
    "png grey": lambda: _large_png(8, 0, 8),
    "png deep grey": lambda: _large_png(16, 0, 16),
    "png grey with alpha": lambda: _large_png(8, 4, 16),
    "png with alpha": lambda: _large_png(8, 6, 32),
    "png deep with alpha": lambda: _large_png(16, 6, 64),
    "tiff of floats": lambda: _large("F", "TIFF", compression="tiff_lzw"),
    "jpeg progressive": lambda: _large("L", "JPEG", progressive=True),
    "avif": lambda: boxed("AVIF", SIDE),  # Its decoder scales 64 x 64 pixels up.
    "webp": lambda: _large("RGB", "WEBP", lossless=True, method=0),
}
"""The largest pictures that are accepted, in files of 34 bytes to 5 MB."""


def weigh(files: Sequence[Path]) -> dict[str, dict[str, object]]:
    """File name -> what came of it, in how many seconds, and MB that this process has grown by."""
    images.probe(saved(noise(), "PNG"))
    found = {}
    for file in files:
        before, began = _peak_mb(), time.monotonic()
        try:
            size = images.probe(file.read_bytes())
            came = f"{size.width} x {size.height}"
        except ImageError as error:
            came = str(error)
        seconds = time.monotonic() - began
        found[file.name] = {"came": came, "seconds": seconds, "mb": _peak_mb() - before}
    return found


def weigh_together(folder: Path) -> dict[str, dict[str, object]]:
    """The same of all files of a folder, ingested at once."""
    images.probe(saved(noise(), "PNG"))
    before, began = _peak_mb(), time.monotonic()
    rows = ingest.ingest(ingest.discover(str(folder))).rows
    came = ", ".join(sorted({row.error or f"{row.width} x {row.height}" for row in rows}))
    seconds = time.monotonic() - began
    return {folder.name: {"came": came, "seconds": seconds, "mb": _peak_mb() - before}}


def _peak_mb() -> float:
    """Of this program alone; what getrusage says counts the process that started it, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    _limit = int(sys.argv[1]) * _MB
    resource.setrlimit(resource.RLIMIT_AS, (_limit, _limit))
    _given = [Path(name) for name in sys.argv[2:]]
    print(json.dumps(weigh_together(*_given) if _given[0].is_dir() else weigh(_given)))
