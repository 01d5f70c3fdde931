import io
from fractions import Fraction

import av
import numpy as np
import pytest

from persona_affect.exceptions import (
    InvalidImageError,
    MediaReadError,
    MediaWarning,
    MediaWriteError,
)
from persona_affect.media import VideoWriter, frame_rate, iter_frames, open_clip

from .conftest import frame_numbers, numbered_frames, write_video

RATE = 48000


def write_with_sound(path, codec, *, n_frames=75, sound_from=0.0, pictures_from=0.0, beep=1.0):
    """Write black frames, white from `beep` on, and 0.2 s of tone that begins with them.

    Times are those of the file's clock, on which sound and pictures may begin at different times.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=RATE, layout="stereo")
        for number in range(n_frames):
            time = pictures_from + number / 25
            frame = av.VideoFrame(64, 48, "gray8")
            frame.planes[0].update(
                bytes([255 * (time > beep - 1e-3)]) * frame.planes[0].buffer_size
            )
            frame.pts, frame.time_base = round(time * 25), Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        times = (
            np.arange(int(sound_from * RATE), int((pictures_from + n_frames / 25) * RATE)) / RATE
        )
        tone = 0.5 * np.sin(2 * np.pi * 1000 * times) * (times >= beep) * (times < beep + 0.2)
        sound = av.AudioFrame.from_ndarray(
            np.stack([tone, tone]).astype(np.float32), format="fltp", layout="stereo"
        )
        sound.sample_rate, sound.pts = RATE, round(sound_from * RATE)
        for part in av.AudioResampler(audio.format, "stereo", RATE).resample(sound):
            container.mux(audio.encode(part))
        container.mux(audio.encode())
    return path


def heard(path):
    """Read when the tone begins and when the sound ends, as a player plays it."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.audio
        resampler = av.AudioResampler("fltp", "mono", RATE)
        parts = [part for frame in container.decode(stream) for part in resampler.resample(frame)]
    loud = next(
        part.pts + int(np.argmax(np.abs(part.to_ndarray()[0]) > 0.1))
        for part in parts
        if np.abs(part.to_ndarray()).max() > 0.1
    )
    return loud / RATE, (parts[-1].pts + parts[-1].samples) / RATE


def seen(path):
    """Read when the white frames begin."""
    return next(frame.time for frame in iter_frames(path) if frame.image.mean() > 128)


def test_frames_come_back_in_order_at_their_times(tmp_path):
    path = tmp_path / "a.mp4"
    frames = numbered_frames(60)
    # As a phone writes: pauses, and bursts.
    times = np.cumsum(np.resize([0.04, 0.04, 0.7, 0.011], 60)) - 0.04
    with VideoWriter(path, rate=25, size=(64, 48)) as video:
        for image, time in zip(frames, times, strict=True):
            video.write(image, time)
    assert frame_numbers(open_clip(path)) == list(range(60))
    np.testing.assert_allclose([f.time for f in iter_frames(path)], times, atol=1e-5)
    with av.open(str(path)) as container:
        # The last frame is shown too, for one at the nominal rate.
        assert container.duration / 1e6 == pytest.approx(times[-1] + 0.04, abs=0.002)


def test_frames_without_times_keep_the_rate(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", rate=30000 / 1001, size=(64, 48)) as video:
        for image in numbered_frames(31):
            video.write(image)
    assert frame_rate(tmp_path / "a.mp4") == pytest.approx(30000 / 1001, rel=1e-3)
    *_, last = iter_frames(tmp_path / "a.mp4")
    assert last.time == pytest.approx(1.001, abs=1e-3)


def test_times_that_stand_still_are_moved_on(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", rate=25, size=(64, 48)) as video:
        for image, time in zip(numbered_frames(4), (0.0, 0.1, 0.1, 0.05), strict=True):
            video.write(image, time)
    assert frame_numbers(open_clip(tmp_path / "a.mp4")) == [0, 1, 2, 3]


def test_it_is_what_browsers_play(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, rate=25, size=(64, 48)) as video:
        for image in numbered_frames(50):
            video.write(image)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_colours_survive(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 90)]
    image = np.repeat(np.array(colours, np.uint8), 16, axis=0)[None].repeat(48, axis=0)
    with VideoWriter(tmp_path / "a.mp4", rate=25, size=(96, 48)) as video:
        video.write(image)
    again = open_clip(tmp_path / "a.mp4")[0]
    np.testing.assert_allclose(again[24, 8::16], colours, atol=4)


@pytest.mark.parametrize("size", [(65, 49), (64, 49), (65, 48), (1, 1)])
def test_an_odd_side_gets_one_pixel_more(tmp_path, size):
    width, height = size
    image = np.random.default_rng(0).integers(100, 130, (height, width, 3)).astype(np.uint8)
    with VideoWriter(tmp_path / "a.mp4", rate=25, size=size) as video:
        video.write(image)
    again = open_clip(tmp_path / "a.mp4")[0]
    assert again.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(again[:height, :width].astype(int) - image).mean() < 8
    assert again.min() > 80


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "pcm_s16le", "libopus"])
@pytest.mark.parametrize(
    ("sound_from", "pictures_from"), [(0.0, 0.0), (0.0, 0.4), (0.4, 0.0), (2.0, 1.2)]
)
def test_sound_stays_in_sync(tmp_path, codec, sound_from, pictures_from):
    source = write_with_sound(
        tmp_path / "a.mkv",
        codec,
        sound_from=sound_from,
        pictures_from=pictures_from,
        beep=max(sound_from, pictures_from) + 0.4,
    )
    with VideoWriter(tmp_path / "b.mp4", rate=25, size=(64, 48), audio_from=source) as video:
        for frame in iter_frames(source):
            video.write(frame.image, frame.time)
    beep, end = heard(tmp_path / "b.mp4")
    assert beep == pytest.approx(seen(tmp_path / "b.mp4"), abs=0.003)
    assert end == pytest.approx(3.0, abs=0.06)


@pytest.mark.parametrize("codec", ["aac", "libopus"])
def test_sound_ends_with_the_pictures(tmp_path, codec):
    source = write_with_sound(tmp_path / "a.mkv", codec)
    with VideoWriter(tmp_path / "b.mp4", rate=25, size=(64, 48), audio_from=source) as video:
        for frame in list(iter_frames(source))[:40]:
            video.write(frame.image, frame.time)
    beep, end = heard(tmp_path / "b.mp4")
    assert beep == pytest.approx(1.0, abs=0.003)
    assert end == pytest.approx(1.6, abs=0.06)


def test_aac_is_copied(tmp_path):
    source = write_with_sound(tmp_path / "a.mp4", "aac")

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(p) for p in container.demux(container.streams.audio[0]) if p.size]

    with VideoWriter(tmp_path / "b.mp4", rate=25, size=(64, 48), audio_from=source) as video:
        for frame in iter_frames(source):
            video.write(frame.image, frame.time)
    assert packets(tmp_path / "b.mp4") == packets(source)


def test_the_sound_of_bytes(tmp_path):
    source = write_with_sound(tmp_path / "a.mp4", "aac").read_bytes()
    with VideoWriter(tmp_path / "b.mp4", rate=25, size=(64, 48), audio_from=source) as video:
        for frame in iter_frames(source):
            video.write(frame.image, frame.time)
    assert heard(tmp_path / "b.mp4")[0] == pytest.approx(1.0, abs=0.003)


def test_a_silent_clip_stays_silent(tmp_path):
    source = write_video(tmp_path / "a.mp4", numbered_frames(5))
    with VideoWriter(tmp_path / "b.mp4", rate=25, size=(64, 48), audio_from=source) as video:
        for frame in iter_frames(source):
            video.write(frame.image, frame.time)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.audio


def test_damaged_sound_does_not_cost_the_pictures(tmp_path):
    source = write_with_sound(tmp_path / "a.mp4", "libmp3lame")
    content = bytearray(source.read_bytes())
    half = content.index(b"mdat") + len(content) // 2
    content[half : content.index(b"moov") - 4] = bytes(content.index(b"moov") - 4 - half)

    def write():
        with VideoWriter(
            tmp_path / "b.mp4", rate=25, size=(64, 48), audio_from=bytes(content)
        ) as video:
            for image in numbered_frames(75):
                video.write(image)

    with pytest.warns(MediaWarning, match="sound is damaged"):
        write()
    assert len(open_clip(tmp_path / "b.mp4")) == 75


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")

    def fail():
        with VideoWriter(path, rate=25, size=(64, 48)) as video:
            video.write(numbered_frames(1)[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_no_frame_no_file(tmp_path):
    with (
        pytest.raises(MediaWriteError, match="no frame"),
        VideoWriter(tmp_path / "a.mp4", rate=25, size=(64, 48)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "image",
    [np.zeros((48, 66, 3), np.uint8), np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3))],
)
def test_frames_of_another_kind_are_refused(tmp_path, image):
    with (
        pytest.raises(InvalidImageError, match="frame of"),
        VideoWriter(tmp_path / "a.mp4", rate=25, size=(64, 48)) as video,
    ):
        video.write(image)


def test_bad_paths_are_named(tmp_path):
    with pytest.raises(MediaWriteError, match=r"must end in \.mp4"):
        VideoWriter(tmp_path / "a.avi", rate=25, size=(64, 48))
    with pytest.raises(MediaWriteError, match="does not exist"):
        VideoWriter(tmp_path / "nowhere" / "a.mp4", rate=25, size=(64, 48))
    with (
        pytest.raises(MediaReadError),
        VideoWriter(tmp_path / "a.mp4", rate=25, size=(64, 48), audio_from=tmp_path / "nowhere"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_memory_is_flat(tmp_path):
    # FFmpeg's own memory is not Python's, so what is asked is that nothing waits to be written:
    # sound and pictures lie beside each other all along.
    source = write_with_sound(tmp_path / "a.mkv", "pcm_s16le", n_frames=500)
    with VideoWriter(tmp_path / "b.mp4", rate=25, size=(64, 48), audio_from=source) as video:
        for frame in iter_frames(source):
            video.write(frame.image, frame.time)
    latest = {"audio": 0.0, "video": 0.0}
    with av.open(io.BytesIO((tmp_path / "b.mp4").read_bytes())) as container:
        for packet in container.demux():
            if packet.pts is not None:
                latest[packet.stream.type] = float(packet.pts * packet.time_base)
                assert abs(latest["audio"] - latest["video"]) < 4
