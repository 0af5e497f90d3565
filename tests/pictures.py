"""Picture files made by hand, whole ones and the usual bad ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(width: int = 24, height: int = 16) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    """The image as a file of this format."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file, its checksum right."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, depth: int = 8, color: int = 0, rows: bytes = b"") -> bytes:
    """A PNG file made by hand, so that header and pixels may disagree."""

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = (
        png_chunk(b"IHDR", header),
        png_chunk(b"IDAT", zlib.compress(rows)),
        png_chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def noise() -> Image.Image:
    """No two places alike."""
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return Image.fromarray(values)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "text": (lambda: b"this is a text file\n", "not an image"),
    "zeros": (lambda: bytes(4096), "zero bytes"),
    "html": (lambda: b"<!DOCTYPE html><html>404</html>", "not an image"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "pdf": (lambda: b"%PDF-1.7\n" + bytes(100), "not an image"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "jpeg cut in half": (lambda: half(saved(noise(), "JPEG")), "truncated"),
    "png cut in half": (lambda: half(saved(noise(), "PNG")), "truncated"),
    "webp cut in half": (lambda: half(saved(noise(), "WEBP")), "not an image|truncated"),
    "bmp cut in half": (lambda: half(saved(noise(), "BMP")), "truncated"),
    "tiff cut in half": (lambda: half(saved(noise(), "TIFF")), "not an image|truncated"),
    "gif cut in half": (lambda: half(saved(noise().convert("P"), "GIF")), "truncated"),
    "jpeg header only": (lambda: saved(noise(), "JPEG")[:20], "not an image|truncated"),
    "png signature only": (lambda: b"\x89PNG\r\n\x1a\n", "not an image|truncated"),
    "png without pixels": (lambda: png(64, 64), "truncated"),
    "bomb below Pillow's error": (lambda: png(15_000, 12_000), "decompression bomb"),
    "bomb above Pillow's error": (lambda: png(60_000, 60_000), "decompression bomb"),
    "one pixel": (lambda: saved(Image.new("RGB", (1, 1)), "PNG"), "too small"),
    "a line": (lambda: saved(Image.new("RGB", (4000, 1)), "PNG"), "too small"),
}


def half(data: bytes) -> bytes:
    """The first half of a file."""
    return data[: len(data) // 2]
