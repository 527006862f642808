"""Every image that people send comes out as they see it.

References are hand computations, Pillow's own full decode and orientation, and plain numpy.
"""

import base64
import contextlib
import io
import struct
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.errors import FrameError
from service.inference.decoding import decode_at_least, decode_frame, resize
from tests.service.inference.encoded_images import (
    EVERY_FILE,
    FILES,
    JPEG,
    LIMITS,
    PILLOW_MAY_WARN,
    PNG,
    PROGRESSIVE,
    WEBP,
    WEBP_LOSSLESS,
    Frame,
    chunk,
    decoded,
    distance,
    encode,
    gradient,
    noise,
    png,
    with_orientation,
)

pytestmark = PILLOW_MAY_WARN


def pixels(data: bytes) -> list[list[int]]:
    """The pixels of a picture that is one row high, at its own size."""
    width = Image.open(io.BytesIO(data)).width
    return [[int(value) for value in pixel] for pixel in decoded(data, 1, width)[0]]


def seen_by_pillow(data: bytes) -> Frame:
    """The independent reference: Pillow's full decode, turned by Pillow."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def area_average(frame_HWC: Frame, factor: int) -> NDArray[np.float64]:
    """Means over squares of `factor` pixels, in numpy."""
    height, width = frame_HWC.shape[0] // factor, frame_HWC.shape[1] // factor
    return frame_HWC.reshape(height, factor, width, factor, 3).astype(float).mean(axis=(1, 3))


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("form", "levels"), [("JPEG", 1), ("PNG", 0), ("WEBP", 0)])
def test_frame_stands_upright(form: str, levels: int, orientation: int) -> None:
    data = encode(gradient(24, 40), form, exif=with_orientation(orientation))
    expected_HWC = seen_by_pillow(data)
    height, width = expected_HWC.shape[:2]
    frame = decode_frame(data, height, width, LIMITS)
    assert distance(frame.frame_HWC, expected_HWC) <= levels
    assert (frame.source_width, frame.source_height) == (width, height) == ((40, 24) if orientation < 5 else (24, 40))
    assert frame.frame_HWC.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_jpeg_stands_upright_too(orientation: int) -> None:
    """Decoded at a quarter and turned, against turned and averaged; a gradient loses nothing on either way."""
    data = encode(gradient(160, 320), "JPEG", quality=95, subsampling=0, exif=with_orientation(orientation))
    expected_HWC = area_average(seen_by_pillow(data), 4)
    assert distance(decoded(data, *expected_HWC.shape[:2]), expected_HWC) <= 3


def test_orientation_behind_the_pixels_of_a_png_counts() -> None:
    """PNG allows eXIf after IDAT, where a reader of the header does not see it."""
    rows = [bytes([10, 20, 30, 40, 50, 60])]
    turned = png(2, 8, 2, rows, after=chunk(b"eXIf", with_orientation(3).removeprefix(b"Exif\0\0")))
    assert pixels(turned) == [[40, 50, 60], [10, 20, 30]]


@pytest.mark.parametrize("exif", [with_orientation(0), with_orientation(9), b"Exif\0\0MM\0*\xff\xff\xff\xff", b"junk"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_orientation_that_cannot_be_read_leaves_the_frame_as_stored(form: str, exif: bytes) -> None:
    plain_HWC = decoded(encode(gradient(16, 24), form), 16, 24)
    np.testing.assert_array_equal(decoded(encode(gradient(16, 24), form, exif=exif), 16, 24), plain_HWC)


# Kinds of pixels


def test_grey_jpeg_has_three_equal_channels() -> None:
    frame_HWC = decoded(encode(Image.new("L", (16, 16), 77), "JPEG"), 16, 16)
    assert np.unique(frame_HWC).tolist() == [77]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("RGBA", (200, 100, 0, 51), [244, 224, 204]),  # alpha 0.2: 0.2 * 200 + 0.8 * 255 = 244, and so on
        ("LA", (100, 51), [224, 224, 224]),
        ("LA", (100, 0), [255, 255, 255]),
    ],
)
@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_transparency_is_blended_over_white(
    form: str, options: dict[str, object], mode: str, colour: tuple[int, ...], expected: list[int]
) -> None:
    assert pixels(encode(Image.new(mode, (2, 1), colour), form, **options)) == [expected] * 2


def test_palette_gives_its_colours() -> None:
    palette = chunk(b"PLTE", bytes([10, 20, 30, 200, 0, 0]))
    assert pixels(png(2, 8, 3, [bytes([0, 1])], before=palette)) == [[10, 20, 30], [200, 0, 0]]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_packed_palette_gives_its_colours(depth: int) -> None:
    palette = chunk(b"PLTE", bytes([10, 20, 30, 200, 0, 0]))
    packed = bytes([1 << 8 - 2 * depth])
    assert pixels(png(2, depth, 3, [packed], before=palette)) == [[10, 20, 30], [200, 0, 0]]


def test_transparent_palette_entry_is_blended_over_white() -> None:
    """Alpha 51 of 255 is 0.2; entries that tRNS leaves out are opaque."""
    before = chunk(b"PLTE", bytes([200, 100, 0, 200, 0, 0])) + chunk(b"tRNS", bytes([51]))
    assert pixels(png(2, 8, 3, [bytes([0, 1])], before=before)) == [[244, 224, 204], [200, 0, 0]]


def test_single_transparent_palette_entry_shows_white() -> None:
    """Pillow knows this form as one index instead of bytes."""
    before = chunk(b"PLTE", bytes([200, 100, 0, 200, 0, 0])) + chunk(b"tRNS", bytes([255, 0]))
    data = png(2, 8, 3, [bytes([0, 1])], before=before)
    assert isinstance(Image.open(io.BytesIO(data)).info["transparency"], int)
    assert pixels(data) == [[200, 100, 0], [255, 255, 255]]


def test_transparent_colour_shows_white() -> None:
    data = png(2, 8, 2, [bytes([10, 20, 30, 10, 20, 31])], before=chunk(b"tRNS", struct.pack(">HHH", 10, 20, 30)))
    assert pixels(data) == [[255, 255, 255], [10, 20, 31]]


@pytest.mark.parametrize(
    ("depth", "row", "key", "first"),
    [
        (1, bytes([0b01_000000]), 1, 0),
        (2, bytes([0b1001_0000]), 1, 2 * 85),
        (4, bytes([0x25]), 5, 2 * 17),
        (8, bytes([37, 5]), 5, 37),
        (16, struct.pack(">HH", 37 * 257, 0x0505), 0x0505, 37),
    ],
)
def test_transparent_grey_shows_white_at_every_depth(depth: int, row: bytes, key: int, first: int) -> None:
    data = png(2, depth, 0, [row], before=chunk(b"tRNS", struct.pack(">H", key)))
    assert pixels(data) == [[first] * 3, [255] * 3]


def test_one_bit_grey_is_black_and_white() -> None:
    assert pixels(png(2, 1, 0, [bytes([0b01_000000])])) == [[0] * 3, [255] * 3]


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    """65535 is 255 and 257 is 1; 128 rounds down to 0 and 129 up to 1."""
    row = struct.pack(">6H", 65535, 257, 32896, 0, 128, 129)
    assert [pixel[0] for pixel in pixels(png(6, 16, 0, [row]))] == [255, 1, 128, 0, 0, 1]


@pytest.mark.parametrize(
    ("colour_type", "samples", "expected"),
    [
        (2, (65535, 0x8080, 0x0101), [255, 128, 1]),
        (4, (0x6464, 0x3333), [224, 224, 224]),  # 100 at alpha 0.2
        (6, (0xC8C8, 0x6464, 0, 0x3333), [244, 224, 204]),
        (6, (0x0A0A, 0x1414, 0x1E1E, 0xFFFF), [10, 20, 30]),
    ],
    ids=["rgb", "grey and alpha", "rgb and alpha", "opaque alpha"],
)
def test_sixteen_bit_colours_keep_their_high_byte(
    colour_type: int, samples: Sequence[int], expected: list[int]
) -> None:
    assert pixels(png(1, 16, colour_type, [struct.pack(f">{len(samples)}H", *samples)])) == [expected]


def test_interlaced_png_decodes_like_a_plain_one() -> None:
    """Adam7 with one pixel: the first pass holds it, the others are empty."""
    plain = png(1, 8, 2, [bytes([10, 20, 30])])
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1)
    interlaced = plain[:8] + chunk(b"IHDR", header) + plain[33:]
    assert pixels(interlaced) == [[10, 20, 30]]


@pytest.mark.parametrize(
    ("ink", "expected"),
    [((0, 0, 0, 0), (255, 255, 255)), ((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))],
    ids=["paper", "cyan", "black"],
)
def test_cmyk_jpeg_of_adobe_shows_its_inks(ink: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Adobe stores CMYK inverted, and so does Pillow with its marker."""
    data = encode(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)
    assert b"Adobe" in data
    assert distance(decoded(data, 16, 16), np.full((16, 16, 3), expected)) <= 2


def test_ycck_jpeg_shows_its_inks() -> None:
    """Stored Y 200 with neutral chroma is R 200, C = 255 - R = 55; Adobe's inversion makes 200 of ink and leaves 55."""
    cmyk = encode(Image.new("CMYK", (16, 16), (55, 127, 127, 0)), "JPEG", quality=100)
    transform = cmyk.index(b"Adobe") + 11
    assert cmyk[transform] == 0
    ycck = cmyk[:transform] + b"\x02" + cmyk[transform + 1 :]
    assert distance(decoded(ycck, 16, 16), np.full((16, 16, 3), 55)) <= 2


def test_rgb_jpeg_of_adobe_is_not_taken_for_ycbcr() -> None:
    data = encode(Image.new("RGB", (16, 16), (200, 30, 90)), "JPEG", quality=100, keep_rgb=True)
    assert distance(decoded(data, 16, 16), np.full((16, 16, 3), (200, 30, 90))) <= 2


def test_progressive_jpeg_equals_baseline() -> None:
    assert PROGRESSIVE != JPEG
    np.testing.assert_array_equal(decoded(PROGRESSIVE, 60, 80), decoded(JPEG, 60, 80))


def test_arithmetic_coded_jpeg_decodes() -> None:
    """24 x 16 pixels of (200, 100, 50), written by libjpeg-turbo 2.1.5 with arithmetic coding."""
    data = base64.b64decode(
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUV"
        "DA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
        "FBQUFBT/yQARCAAQABgDAREAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD9408GlcpPs//Z"
    )
    assert distance(decoded(data, 16, 24), np.full((16, 24, 3), (200, 100, 50))) <= 2


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg_equals_the_decode_of_pillow(subsampling: str) -> None:
    data = encode(noise(33, 47), "JPEG", quality=90, subsampling=subsampling)
    assert distance(decoded(data, 33, 47), seen_by_pillow(data)) <= 1


def test_of_a_phones_several_pictures_the_first_counts() -> None:
    first, second = Image.new("RGB", (16, 16), (200, 0, 0)), Image.new("RGB", (16, 16), (0, 200, 0))
    data = encode(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert distance(decoded(data, 16, 16), np.full((16, 16, 3), (200, 0, 0))) <= 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_of_an_animation_the_first_picture_counts(form: str, options: dict[str, object], mode: str) -> None:
    first, second = Image.new(mode, (8, 8), "red"), Image.new(mode, (8, 8), "lime")
    data = encode(first, form, save_all=True, append_images=[second, first], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert np.unique(decoded(data, 8, 8).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_colour_profile_is_ignored(form: str) -> None:
    plain_HWC = decoded(encode(gradient(16, 24), form), 16, 24)
    profiled = encode(gradient(16, 24), form, icc_profile=b"not a profile at all" * 20)
    np.testing.assert_array_equal(decoded(profiled, 16, 24), plain_HWC)


def test_gamma_of_a_png_is_ignored() -> None:
    """As training sees it, and as most decoders do."""
    data = png(1, 8, 2, [bytes([10, 128, 30])], before=chunk(b"gAMA", struct.pack(">I", 100_000)))
    assert pixels(data) == [[10, 128, 30]]


# Size


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_shrinking_by_a_whole_factor_averages_areas(factor: int) -> None:
    frame_HWC = noise(6 * factor, 7 * factor)
    assert distance(resize(frame_HWC, 6, 7), area_average(frame_HWC, factor)) <= 0.5 + 1e-6


def test_shrinking_one_side_only_averages_along_it() -> None:
    frame_HWC = noise(6, 20)
    expected_HWC = frame_HWC.reshape(6, 10, 2, 3).astype(float).mean(axis=2)
    assert distance(resize(frame_HWC, 6, 10), expected_HWC) <= 0.5 + 1e-6


def test_enlarging_interpolates_between_pixel_centres() -> None:
    """Two pixels 0 and 100 at four places: a quarter of the way in is 25, beyond the centres nothing is invented."""
    frame_HWC = np.repeat(np.array([[[0], [100]]], np.uint8), 3, axis=2)
    assert resize(frame_HWC, 1, 4)[0, :, 0].tolist() == [0, 25, 75, 100]


def test_frame_of_the_right_size_is_left_alone() -> None:
    frame_HWC = noise(5, 7)
    np.testing.assert_array_equal(resize(frame_HWC, 5, 7), frame_HWC)


@pytest.mark.parametrize("data", [PNG, WEBP_LOSSLESS], ids=["png", "webp"])
def test_lossless_file_is_averaged_over_areas(data: bytes) -> None:
    assert distance(decoded(data, 15, 20), area_average(gradient(60, 80), 4)) <= 0.5 + 1e-6


def test_jpeg_at_an_eighth_is_the_mean_of_every_block() -> None:
    """The first coefficient of a block is eight times its mean, whatever else the block holds."""
    data = encode(Image.fromarray(noise(64, 96)[:, :, 0]), "JPEG", quality=95)
    assert distance(decoded(data, 8, 12), area_average(seen_by_pillow(data), 8)) <= 2


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_reduced_jpeg_is_close_to_the_area_average(factor: int) -> None:
    data = encode(gradient(16 * 24, 16 * 40), "JPEG", quality=95)
    expected_HWC = area_average(seen_by_pillow(data), factor)
    assert distance(decoded(data, *expected_HWC.shape[:2]), expected_HWC) <= 4


def test_reduced_photograph_is_close_to_the_area_average(street_photograph: Path) -> None:
    """Texture differs a little, since the scaled transform drops frequencies instead of averaging them."""
    data = street_photograph.read_bytes()
    full_HWC = seen_by_pillow(data)
    height, width = full_HWC.shape[0] // 4, full_HWC.shape[1] // 4
    expected_HWC = resize(full_HWC, height, width).astype(float)
    error_HWC = np.abs(decoded(data, height, width) - expected_HWC)
    assert error_HWC.mean() < 2
    assert np.quantile(error_HWC, 0.99) < 12


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (60, 80, (61, 81)),
        (61, 81, (121, 162)),  # 645 // 81 is 7: an eighth is taken only where it surely suffices
        (120, 160, (121, 162)),
        (241, 322, (242, 323)),
        (242, 324, (483, 645)),
        (1, 1, (61, 81)),
        (1, 600, (483, 645)),
        (1000, 1000, (483, 645)),
    ],
)
def test_reduced_decode_is_never_smaller_than_asked(height: int, width: int, expected: tuple[int, int]) -> None:
    """483 x 645 has halves of 242 x 323, quarters of 121 x 162 and eighths of 61 x 81, all rounded up."""
    data = encode(gradient(483, 645), "JPEG")
    assert decode_at_least(data, height, width, LIMITS).shape == (*expected, 3)


def test_reduced_decode_of_a_turned_jpeg_is_upright() -> None:
    data = encode(gradient(480, 640), "JPEG", exif=with_orientation(6))
    assert decode_at_least(data, 160, 120, LIMITS).shape == (160, 120, 3)
    assert decode_at_least(data, 161, 120, LIMITS).shape == (320, 240, 3)


@EVERY_FILE
def test_decode_at_least_agrees_with_decode_frame(data: bytes) -> None:
    np.testing.assert_array_equal(resize(decode_at_least(data, 15, 20, LIMITS), 15, 20), decoded(data, 15, 20))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 4000), (17, 31)])
def test_any_shape_becomes_the_frame_of_the_network(form: str, size: tuple[int, int]) -> None:
    frame = decode_frame(encode(Image.new("RGB", size, (200, 100, 50)), form), 8, 12, LIMITS)
    assert (frame.source_width, frame.source_height) == size
    assert frame.frame_HWC.dtype == np.uint8
    assert distance(frame.frame_HWC, np.full((8, 12, 3), (200, 100, 50))) <= 4


# Behaviour in the process


def test_threads_get_what_a_single_one_gets() -> None:
    sizes = [(60, 80), (15, 20), (7, 10)]
    expected = [decoded(data, *size) for data in FILES.values() for size in sizes]
    with ThreadPoolExecutor(8) as pool:
        rounds = [[pool.submit(decoded, data, *size) for data in FILES.values() for size in sizes] for _ in range(8)]
        for futures in rounds:
            for future, expected_HWC in zip(futures, expected, strict=True):
                np.testing.assert_array_equal(future.result(60), expected_HWC)


def test_first_frames_may_arrive_on_many_threads_at_once() -> None:
    """In a fresh process, where Pillow has not registered its formats yet."""
    program = (
        "import sys; from concurrent.futures import ThreadPoolExecutor;"
        "from service.inference.decoding import FrameLimits, decode_frame;"
        "data = sys.stdin.buffer.read(); pool = ThreadPoolExecutor(16);"
        "frames = list(pool.map(lambda _: decode_frame(data, 8, 12, FrameLimits()).frame_HWC.tobytes(), range(32)));"
        "print(len(set(frames)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], input=WEBP, capture_output=True, timeout=120)
    assert (ran.stdout, ran.stderr) == (b"1\n", b"")


@EVERY_FILE
def test_damage_leaves_no_noise_on_stderr(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """The C libraries under OpenCV print there, past any log format."""
    generator = np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(data)
        for place in generator.integers(0, len(data), 3):
            changed[place] = generator.integers(256)
        with contextlib.suppress(FrameError):
            decoded(bytes(changed), 15, 20)
    assert capfd.readouterr() == ("", "")


def test_damaged_exif_leaves_no_lines_on_stderr() -> None:
    """Pillow warns of each tag, and a warning is printed past any log format."""
    tags = b"".join(struct.pack(">HHLL", 1000 + tag, 7, 60_000, 8) for tag in range(100))
    exif = b"Exif\0\0MM\0*" + struct.pack(">LH", 8, 100) + tags
    program = (
        "import sys; from service.inference.decoding import FrameLimits, decode_frame;"
        "print(decode_frame(sys.stdin.buffer.read(), 8, 12, FrameLimits()).source_width)"
    )
    data = encode(gradient(60, 80), "JPEG", exif=exif)
    ran = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, timeout=120)
    assert (ran.stdout, ran.stderr) == (b"80\n", b"")


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB there alone")
def test_exif_tags_that_share_their_bytes_do_not_fill_the_memory() -> None:
    """5,000 tags of 64,500 bytes at one place: Pillow 12.3 copied them, 217 MB of a file of 66 KB."""
    tags = b"".join(struct.pack("<HHLL", 1000 + tag, 7, 64_500, 8) for tag in range(5000))
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 5000) + tags
    data = encode(gradient(60, 80), "JPEG", exif=exif.ljust(65_000, b"\0"))
    program = (
        "import resource, sys; from service.inference.decoding import FrameLimits, decode_frame;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = peak();"
        "decode_frame(sys.stdin.buffer.read(), 8, 12, FrameLimits()); print(peak() - before)"
    )
    ran = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, timeout=120)
    assert int(ran.stdout) < 50_000  # KiB


def test_photograph_equals_the_decode_of_pillow(street_photograph: Path) -> None:
    data = street_photograph.read_bytes()
    expected_HWC = seen_by_pillow(data)
    frame = decode_frame(data, *expected_HWC.shape[:2], LIMITS)
    assert distance(frame.frame_HWC, expected_HWC) <= 1
    assert (frame.source_height, frame.source_width) == expected_HWC.shape[:2]
