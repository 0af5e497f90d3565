"""Every kind of picture file becomes the same upright RGB; every bad one a precise reason."""

from __future__ import annotations

import struct
import threading
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from grand_pipeline import images
from grand_pipeline.errors import ImageError, MissingDependencyError
from tests.chaos import corpus
from tests.pictures import BAD, BLUE, RED, picture, png, saved


def pixels(data: bytes) -> NDArray[np.int64]:
    return np.asarray(images.decode(data)).astype(np.int64)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_formats(format: str) -> None:
    exact: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
    }
    data = saved(picture(), format, **exact.get(format, {}))
    image = images.decode(data)
    assert image.mode == "RGB"
    assert image.size == (24, 16)
    assert np.abs(pixels(data) - np.asarray(picture()).astype(int)).max() <= 12
    assert images.probe(data) == images.Probe(24, 16, format)


def test_heic() -> None:
    images.probe(saved(picture(), "PNG"))  # Registers the opener.
    data = saved(picture(64, 64), "HEIF", quality=90)
    assert images.probe(data) == images.Probe(64, 64, "HEIF")
    left, right = pixels(data)[32, 8], pixels(data)[32, 56]
    assert left[0] > 200 > left[2]
    assert right[2] > 200 > right[0]


def test_heic_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_formats", lambda: ("JPEG", "PNG"))
    with pytest.raises(ImageError, match=r"grand-pipeline\[heic\]"):
        images.decode(b"\0\0\0\x18ftypheic" + bytes(64))


def test_gif_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in (RED, BLUE)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(pixels(data)[0, 0]) == RED


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_whole_range(format: str) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)
    grey = Image.fromarray(np.tile(ramp, (16, 1)))
    assert grey.mode == "I;16"
    row = pixels(saved(grey, format))[3, :, 1]
    assert row.tolist() == list(range(256))


def test_sixteen_bit_grey_is_not_stretched() -> None:
    grey = Image.fromarray(np.full((16, 16), 257 * 100, np.uint16))
    assert set(pixels(saved(grey, "PNG")).ravel()) == {100}


def test_sixteen_bit_rgb() -> None:
    row = b"\0" + struct.pack(">3H", 257 * 200, 257 * 100, 257 * 50) * 16
    data = png(16, 16, depth=16, color=2, rows=row * 16)
    assert tuple(pixels(data)[5, 5]) == (200, 100, 50)


def test_float_tiff_runs_from_its_minimum_to_its_maximum() -> None:
    values = np.tile(np.linspace(-1.5, 3.0, 16, dtype=np.float32), (16, 1))
    values[0, 0] = np.nan
    row = pixels(saved(Image.fromarray(values), "TIFF"))[4, :, 0]
    assert (row[0], row[-1]) == (0, 255)
    assert (np.diff(row) > 0).all()


def test_constant_float_image_decodes() -> None:
    values = np.full((16, 16), 7.0, np.float32)
    assert images.decode(saved(Image.fromarray(values), "TIFF")).size == (16, 16)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LA", "RGBA"])
def test_modes(mode: str) -> None:
    format = "TIFF" if mode == "CMYK" else "PNG"
    flat = pixels(saved(Image.new("RGB", (16, 16), "white").convert(mode), format))
    assert flat.min() >= 254


def test_cmyk_jpeg() -> None:
    data = saved(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=95)
    red, green, blue = pixels(data)[8, 8]
    assert red > 220
    assert max(green, blue) < 40


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_alpha_is_laid_over_white(format: str) -> None:
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (8, 0, 16, 16))
    options = {"lossless": True} if format == "WEBP" else {}
    result = pixels(saved(image, format, **options))
    assert tuple(result[4, 2]) == (255, 255, 255)
    assert tuple(result[4, 12]) == RED


def test_half_transparent_black_is_mid_grey() -> None:
    data = saved(Image.new("RGBA", (16, 16), (0, 0, 0, 128)), "PNG")
    assert abs(int(pixels(data)[0, 0, 0]) - 127) <= 1


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_palette_transparency_is_laid_over_white(transparency: int | bytes) -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.paste(1, (8, 0, 16, 16))
    result = pixels(saved(image, "PNG", transparency=transparency))
    assert tuple(result[0, 0]) == (255, 255, 255)
    assert tuple(result[0, 12]) == (200, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_once(format: str, orientation: int) -> None:
    upright = Image.new("L", (32, 24), 0)
    upright.paste(255, (0, 0, 16, 12))  # White top left quarter.
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = inverse.get(orientation) or images._TURNS.get(orientation)
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(stored.convert("RGB"), format, exif=exif)
    probe = images.probe(data)
    assert (probe.width, probe.height) == (32, 24)
    result = pixels(data)[..., 0]
    assert result[6, 8] > 200
    assert max(result[6, 24], result[18, 8], result[18, 24]) < 50


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_only_a_jpeg_that_is_not_turned_may_come_smaller(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(101, 60), format, exif=exif)
    whole = images.decode(data)
    for scale, size in ((1.0, (101, 60)), (0.6, (101, 60)), (0.5, (51, 30)), (0.2, (26, 15))):
        found = images.decode(data, scale=scale)
        smaller = format == "JPEG" and orientation == 1
        assert found.size == (size if smaller else whole.size)
        corner = found.getpixel((2, 2))
        assert np.abs(np.subtract(corner, whole.getpixel((8, 8)))).max() < 20


def test_damaged_exif_does_not_lose_the_picture() -> None:
    data = saved(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff\xff")
    assert images.probe(data).width == 24


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gives_a_reason(name: str) -> None:
    make, reason = BAD[name]
    with pytest.raises(ImageError, match=reason):
        images.decode(make())
    with pytest.raises(ImageError, match=reason):
        images.probe(make())


@pytest.mark.parametrize("part", range(3))
def test_damaged_files_are_pictures_or_have_a_reason(part: int) -> None:
    """`chaos/test_fuzz_images.py` looks at many more of them."""
    found = [corpus.looked_at(corpus.damaged(part * 100 + n)[1]) for n in range(100)]
    assert 10 < sum(isinstance(one, str) for one in found) < 95


def test_what_is_not_listed_is_not_opened() -> None:
    """Pillow would, and for some of these it starts other programs."""
    for format in ("ICO", "JPEG2000", "PCX", "TGA", "SGI", "DDS", "ICNS", "EPS", "PDF"):
        with pytest.raises(ImageError, match="not an image of a format that is read here"):
            images.decode(saved(picture(128, 128), format))


@pytest.mark.parametrize("size", [(1, 1), (1, 65_535), (65_500, 7), (7, 7)])
def test_slivers_are_too_small(size: tuple[int, int]) -> None:
    for format in ("PNG", "TIFF", "BMP"):
        with pytest.raises(ImageError, match="too small"):
            images.probe(saved(Image.new("L", size), format))


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_an_orientation_that_there_is_not_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert images.probe(saved(picture(), "JPEG", exif=exif)).width == 24


def test_limit_is_an_argument() -> None:
    data = saved(picture(), "PNG")
    with pytest.raises(ImageError, match="24 x 16 is 384 pixels"):
        images.decode(data, max_pixels=383)
    assert images.decode(data, max_pixels=384).size == (24, 16)


def test_pillow_warnings_stay_inside_and_filters_are_restored() -> None:
    """A picture between Pillow's warning and error limits decodes in threads without a word."""
    data = saved(Image.new("1", (10_000, 9_000)), "PNG")
    before = list(warnings.filters)
    failures: list[Exception] = []

    def work() -> None:
        try:
            images.probe(data)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(warnings.filters) == before


def test_read_bytes_of_paths_and_uris(tmp_path: Path) -> None:
    path = tmp_path / "a b%20.png"
    path.write_bytes(b"abc")
    assert images.read_bytes(str(path)) == b"abc"
    assert images.read_bytes(path.as_uri()) == b"abc"
    with fsspec.open("memory://pictures/x.png", "wb") as file:
        file.write(b"def")
    assert images.read_bytes("memory://pictures/x.png") == b"def"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("/nowhere/x.png", "No such file"),
        ("memory://nowhere/x.png", "cannot read"),
        ("nonsense://x.png", "Available: .*memory"),
    ],
)
def test_read_bytes_names_what_it_can_not_read(uri: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        images.read_bytes(uri)
    assert uri in str(caught.value)


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is installed")
def test_s3_without_its_package_says_what_to_install() -> None:
    with pytest.raises(MissingDependencyError, match=r"grand-pipeline\[s3\]"):
        images.read_bytes("s3://bucket/x.png")


def test_opener_prefers_embedded_bytes() -> None:
    data = saved(picture(), "PNG")
    assert images.opener("/nowhere/x.png", data)().size == (24, 16)
    with pytest.raises(ImageError, match="No such file"):
        images.opener("/nowhere/x.png", None)()
