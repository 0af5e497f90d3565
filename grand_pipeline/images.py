"""Bytes of any picture file to one EXIF-upright 8-bit RGB image, or a precise reason why not.

Nothing else in the project decodes files, so orientation, transparency and bit depth are decided
here and once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from urllib.parse import unquote_to_bytes

from PIL import Image, UnidentifiedImageError

from grand_pipeline import disk, guard
from grand_pipeline.errors import ImageError, MissingDependencyError, suggest
from grand_pipeline.quiet import mute, quiet
from grand_pipeline.rgb import rgb

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF", "PPM")
"""Pillow's names of what is read. A closed list: some other Pillow formats start programs."""

MAX_PIXELS = 178_000_000
"""Pixels of the largest accepted picture: just under Pillow's own hard limit."""

MIN_SIDE = 8
"""Pixels of the shortest accepted side: below this there is nothing to annotate."""

MAX_BYTES = 1 << 30
"""Bytes of the largest file that is read: room for MAX_PIXELS in 8 bits, uncompressed."""

_NO_FILES = {
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"mif1", b"msf1")


@dataclass(frozen=True)
class Probe:
    """What a full decode found: pixels of the EXIF-upright image, and the file format."""

    width: int
    height: int
    format: str


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, scale: float = 1.0) -> Image.Image:
    """The first frame as EXIF-upright RGB; transparency is laid over white.

    16-bit greys are scaled by their full range; 32-bit ones, which have no fixed white, from their
    own minimum to maximum. With a `scale` below 1 a JPEG that EXIF does not turn may come at a
    half, a quarter or an eighth of its sides, never below `scale`, in a fraction of the time.
    Raises ImageError with the reason, and MemoryError when there is too little for this image.
    """
    return _decode(data, max_pixels, scale)[0]


def probe(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Probe:
    """Size and format after decoding every pixel. Raises what `decode` does."""
    image, name = _decode(data, max_pixels)
    return Probe(image.width, image.height, name)


def read_bytes(uri: str) -> bytes:
    """Content of a local path, a `file://` URI or any fsspec URI (`s3://`, `memory://`).

    Raises ImageError when it can not be read, MissingDependencyError when the URI's scheme needs a
    package that is not installed, and OSError when this machine has no room for it.
    """
    try:
        if "://" not in uri or uri.startswith("file://"):
            return _read_local(uri)
        return _read_remote(uri)
    except (ImageError, MissingDependencyError, MemoryError):
        raise
    except Exception as error:  # File systems raise whatever their libraries do.
        disk.refuse_shortage(error)
        raise ImageError(f"cannot read '{uri}': {reason(error)}") from None


def _read_local(uri: str) -> bytes:
    """What is no file is not opened: a pipe waits for a writer, and some devices act."""
    path = local_path(uri)
    status = os.stat(path)
    for holds, name in _NO_FILES.items():
        if holds(status.st_mode):
            raise ImageError(f"cannot read '{uri}': it is {name} and no file")
    _check_bytes(uri, status.st_size)
    with open(path, "rb", opener=_open_without_waiting) as file:
        data = file.read(status.st_size + 1)
    if len(data) > status.st_size:
        raise ImageError(f"cannot read '{uri}': it grew while it was read")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _check_bytes(uri: str, size: int) -> None:
    if size > MAX_BYTES:
        raise ImageError(f"cannot read '{uri}': more bytes than the limit of {MAX_BYTES}")


def reason(error: Exception) -> str:
    """What a file system said, and at least what kind of error it was."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    plain = isinstance(error, ValueError) and str(error)
    return str(error) if plain else f"{type(error).__name__}: {error}".removesuffix(": ")


def local_path(uri: str) -> str:
    """The path of a local uri. `file://` URIs are percent-encoded bytes, so any name fits."""
    if uri.startswith("file://"):
        return os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))
    return uri


def opener(uri: str, data: bytes | None) -> Callable[..., Image.Image]:
    """What `record.Record` opens its image with: embedded `data` if there, else the uri.

    It may be called with a `scale`, as `decode`.
    """
    return partial(_open, uri, data)


def _open(uri: str, data: bytes | None, scale: float = 1.0) -> Image.Image:
    return decode(read_bytes(uri) if data is None else data, scale=scale)


def _read_remote(uri: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(uri, "rb") as file:
            content: bytes = file.read(MAX_BYTES + 1)
    except ImportError as error:
        raise lacking_package(uri, error) from None
    except ValueError as error:
        raise ImageError(f"cannot read '{uri}': {error}.{suggested_scheme(uri)}") from None
    _check_bytes(uri, len(content))
    return content


def lacking_package(uri: str, error: ImportError) -> MissingDependencyError:
    """What to raise for a uri whose scheme is known and whose file system is not installed."""
    ours = uri.startswith(("s3://", "s3a://"))
    remedy = "pip install 'grand-pipeline[s3]'" if ours else "install it beside grand with pip"
    return MissingDependencyError(
        f"'{uri}' needs a package that is not installed ({error}): {remedy}"
    )


def suggested_scheme(uri: str) -> str:
    """Tail of a message for a uri whose scheme is unknown: the nearest and all that are known."""
    import fsspec

    scheme, known = uri.partition("://")[0], fsspec.available_protocols()
    return "" if scheme in known else suggest(scheme, known)


def _decode(data: bytes, max_pixels: int, scale: float = 1.0) -> tuple[Image.Image, str]:
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    guard.check(data)
    try:
        with quiet(), Image.open(BytesIO(data), formats=_formats()) as image:
            name = {"MPO": "JPEG", "DIB": "BMP"}.get(str(image.format), str(image.format))
            _check_size(image.size, max_pixels)
            if scale < 1.0:
                _shrink(image, scale)
            with guard.room(image.width * image.height):
                image.load()
                return _upright(image, rgb(image)), name
    except (ImageError, MemoryError):  # What this machine lacks is no fault of the file.
        raise
    except UnidentifiedImageError:
        raise ImageError(_unidentified(data)) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"decompression bomb: {error}") from None
    except Exception as error:
        # Decoders raise whatever hostile bytes lead them to: OSError, SyntaxError, struct.error,
        # zlib.error, ValueError. Each is a reason of this one file.
        detail = str(error) or type(error).__name__
        raise ImageError(f"damaged or truncated: {detail}") from None


def _shrink(image: Image.Image, scale: float) -> None:
    """Have a JPEG decoded smaller. Sides that are no multiple end in part of a pixel, which has to
    stay at the right and at the bottom, so a picture that will be turned is left whole."""
    if image.format in ("JPEG", "MPO") and _turn(image) is None:
        width, height = image.size
        image.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"decompression bomb: {width} x {height} is {width * height} pixels, "
            f"more than the limit of {max_pixels}"
        )
    if min(size) < MIN_SIDE:
        raise ImageError(f"too small: {width} x {height}; each side needs {MIN_SIDE} pixels")


def _upright(source: Image.Image, pixels: Image.Image) -> Image.Image:
    """`pixels` turned as the EXIF of the loaded `source` asks.

    Asked after loading: TIFF and HEIC are turned by their decoders, which then drop the tag.
    """
    turn = _turn(source)
    return pixels if turn is None else pixels.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # Damaged EXIF of any kind is no reason to lose the picture.
        orientation = None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _unidentified(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS and "HEIF" not in _formats():
        return "HEIC needs an optional package: pip install 'grand-pipeline[heic]'"
    if not any(data):
        return f"not an image: {len(data)} zero bytes"
    return (
        "not an image of a format that is read here, or damaged from the start; it begins with "
        f"{data[:8]!r}"
    )


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this installation reads."""
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    Image.init()
    mute()
    return tuple(name for name in FORMATS if name in Image.OPEN)
