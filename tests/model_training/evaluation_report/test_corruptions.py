import cv2
import numpy as np
import pytest

from model_training.evaluation_report.corruptions import (
    BRIGHTER_BY,
    CORRUPTIONS,
    DROPS_SHARE,
    FOG_SHARE,
    JPEG_QUALITY,
    NIGHT_GAINS,
    NOISE_SIGMA,
    RAIN_HAZE,
    SEVERITIES,
    SMALLER_TO,
    blur,
    brightness,
    fog,
    jpeg,
    night,
    noise,
    rain,
    smaller,
)


def grey(value, height=40, width=60):
    return np.full((height, width, 3), value, np.uint8)


def scene():
    """A frame with edges and texture."""
    rows, columns = np.mgrid[:64, :96]
    return np.stack([rows * 3 % 256, columns * 2 % 256, (rows // 8 + columns // 8) % 2 * 200], axis=-1).astype(np.uint8)


def changed(name, severity, frame, seed=0):
    return CORRUPTIONS[name](frame, severity, np.random.default_rng(seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_result_is_a_frame_and_the_input_stays_as_it_was(name, severity):
    frame = scene()
    found = changed(name, severity, frame)
    assert (found.dtype, found.ndim, found.shape[2]) == (np.uint8, 3, 3)
    assert found.flags.c_contiguous
    assert (frame == scene()).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_same_seed_gives_the_same_frame(name):
    assert (changed(name, 3, scene(), 7) == changed(name, 3, scene(), 7)).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_severity_is_farther_from_the_frame_than_the_one_before(name):
    def distance(severity):
        found = cv2.resize(changed(name, severity, scene()), (96, 64), interpolation=cv2.INTER_LINEAR)
        return np.abs(found.astype(float) - scene()).mean()

    distances = [distance(severity) for severity in SEVERITIES]
    assert distances == sorted(distances)
    assert distances[0] > 0


def test_brightness_adds_and_stops_at_white():
    assert (changed("brightness", 1, grey(100)) == 100 + BRIGHTER_BY[0]).all()
    assert (brightness(grey(200), 5, np.random.default_rng()) == 255).all()


def test_fog_mixes_in_a_share_of_its_grey():
    """At severity 3 a half: (100 + 215) / 2, rounded to even."""
    assert FOG_SHARE[2] == 0.5
    assert (fog(grey(100), 3, np.random.default_rng()) == 158).all()


def test_night_multiplies_by_its_gain():
    """The noise on top has mean 0: with 7,200 values of sigma 2, their mean is within 0.1 of 0.6 * 100."""
    assert NIGHT_GAINS[0] == 0.6
    assert night(grey(100), 1, np.random.default_rng(0)).mean() == pytest.approx(60, abs=0.1)


def test_noise_has_its_standard_deviation():
    """Around the middle of the range, where nothing is cut off."""
    found = noise(grey(128, 200, 300), 1, np.random.default_rng(0)).astype(float)
    # Rounding adds 1/12 to the variance.
    assert found.std() == pytest.approx(np.sqrt(NOISE_SIGMA[0] ** 2 + 1 / 12), rel=0.02)
    assert found.mean() == pytest.approx(128, abs=0.1)


def test_blur_keeps_an_even_frame_and_spreads_a_point():
    """A point's light stays the same in sum, and falls off as a Gaussian of 2.5 pixels."""
    assert (blur(grey(90), 3, np.random.default_rng()) == 90).all()
    point = np.zeros((81, 81, 3), np.uint8)
    point[36:45, 36:45] = 255
    found = blur(point, 3, np.random.default_rng())[..., 0].astype(float)
    assert found.sum() == pytest.approx(81 * 255, rel=0.02)
    assert found[40, 40] > found[40, 45] > found[40, 48] > 0


def test_jpeg_is_that_of_the_quality():
    """Against Pillow's encoder at the same quality, which uses the same tables."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(scene()).save(file, "JPEG", quality=JPEG_QUALITY[2])
    expected = np.asarray(Image.open(file)).astype(float)
    assert np.abs(jpeg(scene(), 3, np.random.default_rng()) - expected).mean() < 3


def test_smaller_frame_has_fewer_pixels_which_are_means():
    """At severity 2 40 x 60 pixels become 16 x 24; an even frame stays even."""
    assert SMALLER_TO[1] == 0.4
    found = smaller(grey(77), 2, np.random.default_rng())
    assert found.shape == (16, 24, 3)
    assert (found == 77).all()
    assert smaller(grey(77, 1, 2), 5, np.random.default_rng()).shape == (1, 1, 3)


def test_rain_is_haze_with_streaks():
    """Black becomes 0.05 * 200 = 10 where no streak is, and 10 * 0.3 + 200 * 0.7 = 143 where one is."""
    assert RAIN_HAZE[0] == 0.05
    found = rain(grey(0, 200, 300), 1, np.random.default_rng(0))
    assert set(np.unique(found)) == {10, 143}
    # A drop in a thousand pixels, each of 17 pixels in a column or a neighbour of it.
    assert (found == 143).mean() == pytest.approx(17 * DROPS_SHARE[0], rel=0.35)
