"""Frames of videos: which, when, which way up, and what of a broken one."""

import struct
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV: pip install 'roadcue[video]'")

import av

from service.errors import DamagedImage, TooManyPixels, UnreadableVideo
from service.inference.decoding import FrameLimits
from service.scoring.paths import VIDEO_SUFFIXES
from service.scoring.videos import DEFAULT_LIMITS, Sampling, VideoFrame, video_frames
from tests.service.scoring.made_videos import HEIGHT, WIDTH, fading_video, grey, lie_on_its_side, write_video

EVERY_FRAME = Sampling(every_frames=1)


def levels(frames: list[VideoFrame]) -> list[int]:
    return [int(frame.content[0, 0, 0]) for frame in frames if isinstance(frame.content, np.ndarray)]


def frames_until_it_fails(
    path: Path, sampling: Sampling = EVERY_FRAME, limits: FrameLimits = DEFAULT_LIMITS
) -> tuple[list[VideoFrame], str]:
    frames: list[VideoFrame] = []
    with pytest.raises(UnreadableVideo) as failed:
        frames.extend(video_frames(str(path), sampling, limits=limits))
    return frames, str(failed.value)


def test_every_second_takes_the_first_frame_of_each_second(tmp_path: Path) -> None:
    """Ten frames a second; frame n has the level 8 n."""
    frames = list(video_frames(str(fading_video(tmp_path / "fading.mkv")), Sampling()))
    assert [(frame.number, frame.seconds) for frame in frames] == [(0, 0.0), (10, 1.0), (20, 2.0)]
    assert levels(frames) == [0, 80, 160]


def test_every_fraction_of_a_second_keeps_to_the_clock_and_not_to_the_last_frame(tmp_path: Path) -> None:
    """Every 0.25 s of frames at 0, 0.1, 0.2, ...: the first at or after 0, 0.25, 0.5, 0.75, 1.0."""
    frames = video_frames(str(fading_video(tmp_path / "fading.mkv", 11)), Sampling(every_seconds=0.25))
    assert [frame.number for frame in frames] == [0, 3, 5, 8, 10]


def test_every_nth_frame_counts_from_the_first(tmp_path: Path) -> None:
    frames = video_frames(str(fading_video(tmp_path / "fading.mkv", 10)), Sampling(every_frames=4))
    assert [frame.number for frame in frames] == [0, 4, 8]


def test_what_was_scored_before_is_left_out(tmp_path: Path) -> None:
    frames = video_frames(str(fading_video(tmp_path / "fading.mkv", 10)), Sampling(every_frames=3), after=3)
    assert [frame.number for frame in frames] == [6, 9]


def test_the_share_grows_to_the_end(tmp_path: Path) -> None:
    shares = [
        frame.share for frame in video_frames(str(fading_video(tmp_path / "a.mkv", 10)), Sampling(every_frames=5))
    ]
    assert shares == pytest.approx([0.0, 0.5])


def test_a_video_that_lies_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    """Stored red on the left and green on the right; turned clockwise, left comes to the top."""
    stored_HWC = grey(0)
    stored_HWC[:, : WIDTH // 2, 0] = 255
    stored_HWC[:, WIDTH // 2 :, 1] = 255
    path = write_video(tmp_path / "phone.mp4", [stored_HWC] * 3, codec="mpeg4", pixels="yuv420p")
    lie_on_its_side(path)
    shown_HWC = next(iter(video_frames(str(path), Sampling()))).content
    assert isinstance(shown_HWC, np.ndarray)
    assert shown_HWC.shape == (WIDTH, HEIGHT, 3)
    assert shown_HWC[0, :, 0].min() > 200
    assert shown_HWC[-1, :, 1].min() > 200
    assert shown_HWC[0, :, 1].max() < 50


def test_a_cut_video_gives_what_could_be_decoded_and_then_says_what_is_missing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mkv", [noise(seed) for seed in range(40)])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    frames, said = frames_until_it_fails(path)
    assert 10 < len(frames) < 30
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert "is not whole" in said
    assert said.endswith("of 4.0 s")


def noise(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def test_a_video_whose_index_is_cut_off_is_refused(tmp_path: Path) -> None:
    """An MP4 has it at its end."""
    path = write_video(tmp_path / "cut.mp4", [noise(1)] * 10, codec="mpeg4", pixels="yuv420p")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov")])
    frames, said = frames_until_it_fails(path)
    assert frames == []
    assert said.startswith(f"{path} cannot be read as a video: ")


def test_damage_within_a_video_costs_its_frames_and_not_the_rest(tmp_path: Path) -> None:
    path = write_video(tmp_path / "hole.mkv", [noise(seed) for seed in range(40)], codec="mpeg4", pixels="yuv420p")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    frames, said = frames_until_it_fails(path)
    whole = [frame for frame in frames if not isinstance(frame.content, DamagedImage)]
    assert len(whole) >= 20
    assert frames[-1].seconds == pytest.approx(3.9)
    assert "is not whole" in said


@pytest.mark.parametrize("content", [b"", b"not a video at all"])
def test_what_is_no_video_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableVideo, match=r"a\.mp4 cannot be read as a video: "):
        list(video_frames(str(path), Sampling()))


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_every_kind_of_video_that_is_looked_for_can_be_read(tmp_path: Path, suffix: str) -> None:
    own = {".flv": "flv", ".wmv": "wmv2", ".webm": "libvpx", ".ogv": "libvpx"}
    mpeg = dict.fromkeys((".mpg", ".mpeg", ".mts", ".m2ts"), "mpeg2video")
    path = write_video(tmp_path / f"a{suffix}", [grey(128)] * 10, (own | mpeg).get(suffix, "mpeg4"), "yuv420p")
    assert [frame.number for frame in video_frames(str(path), EVERY_FRAME)] == list(range(10))


def test_a_name_that_looks_like_an_address_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fading_video(tmp_path / "a.mkv", 2).rename(tmp_path / "12:30:05.mkv")
    monkeypatch.chdir(tmp_path)
    assert levels(list(video_frames("12:30:05.mkv", EVERY_FRAME))) == [0, 8]


def test_an_address_is_not_asked() -> None:
    """Whoever was asked there would refuse the connection."""
    with pytest.raises(UnreadableVideo, match="No such file or directory"):
        list(video_frames("http://127.0.0.1:9/a.mp4", Sampling()))


@pytest.mark.parametrize(
    "listing",
    [
        "ffconcat version 1.0\nfile other.mkv\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mkv\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_list_of_other_files_is_no_video(tmp_path: Path, listing: str) -> None:
    """Its frames would be written under its own name."""
    fading_video(tmp_path / "other.mkv")
    (tmp_path / "a.mp4").write_text(listing)
    with pytest.raises(UnreadableVideo, match=r"a\.mp4 cannot be read as a video: "):
        list(video_frames(str(tmp_path / "a.mp4"), Sampling()))


@pytest.mark.parametrize("allowed", [1535, 700])
@pytest.mark.parametrize(("name", "codec", "pixels"), [("a.avi", "png", "rgb24"), ("a.mkv", "ffv1", "bgr0")])
def test_larger_frames_than_allowed_are_refused_by_what_the_file_announces(
    tmp_path: Path, name: str, codec: str, pixels: str, allowed: int
) -> None:
    path = write_video(tmp_path / name, [grey(0)], codec, pixels)
    assert len(list(video_frames(str(path), Sampling(), limits=FrameLimits(WIDTH * HEIGHT)))) == 1
    with pytest.raises(TooManyPixels, match=f"the frame is 48 x 32 = 1536 pixels; at most {allowed} are allowed"):
        list(video_frames(str(path), Sampling(), limits=FrameLimits(allowed)))


def test_much_larger_frames_than_the_file_announces_are_not_decoded(tmp_path: Path) -> None:
    """The AVI's header says 8 x 8, the picture in it 48 x 32."""
    path = write_video(tmp_path / "a.avi", [grey(0)], "png", "rgb24")
    path.write_bytes(path.read_bytes().replace(struct.pack("<2I", WIDTH, HEIGHT), struct.pack("<2I", 8, 8)))
    frames, said = frames_until_it_fails(path, limits=FrameLimits(700))
    assert (frames, said) == ([], f"{path} holds no frame of at most 700 pixels that can be decoded")


def test_a_frame_that_is_larger_than_those_before_it_ends_the_video(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width = stream.height = 8
        stream.pix_fmt = "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(grey(0)[:8, :8], format="rgb24")))
        packet = av.Packet(cv2.imencode(".png", grey(0))[1].tobytes())
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 1, 1, Fraction(1, 10)
        container.mux(packet)
    read = video_frames(str(path), EVERY_FRAME, limits=FrameLimits(WIDTH * HEIGHT - 1))
    assert next(read).number == 0
    with pytest.raises(TooManyPixels):
        next(read)


def test_a_codec_that_nobody_knows_is_told(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", [grey(0)], "png", "rgb24")
    path.write_bytes(path.read_bytes().replace(b"MPNG", b"ZZZZ"))
    assert frames_until_it_fails(path) == ([], f"{path} holds no video stream that can be decoded")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideo, match="No such file or directory"):
        list(video_frames(str(tmp_path / "absent.mp4"), Sampling()))


def test_without_the_library_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.scoring.videos.find_spec", lambda name: None)
    with pytest.raises(UnreadableVideo, match=r"needs PyAV: pip install 'roadcue\[video\]'"):
        list(video_frames(str(tmp_path / "a.mp4"), Sampling()))
