"""Threads that work on several batches of a stream at once."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, FrameAnnotator, JointAffectEstimator
from persona_affect.annotation import Session
from persona_affect.datasets import make_affect_faces
from persona_affect.exceptions import InvalidImageError, MediaLimitError, MediaReadError
from persona_affect.media import VideoWriter

pytest.importorskip("trackers", reason="needs the extra app")


@pytest.fixture(autouse=True)
def n_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    faces = make_affect_faces(4, random_state=0)
    estimator = JointAffectEstimator(max_epochs=1, random_state=0)
    return make_pipeline(FaceAligner(), estimator).fit(faces.data, faces.target)


@pytest.fixture(scope="module")
def scene():
    """Two faces that move past a grey background; the right one is hidden in frames 8 to 11."""
    left, right = make_affect_faces(1, random_state=3).data
    frames = np.full((20, 160, 420, 3), 128, dtype=np.uint8)
    for t, frame in enumerate(frames):
        frame[10:138, 10 + 3 * t : 138 + 3 * t] = left
        if not 8 <= t < 12:
            frame[20:148, 280 - 3 * t : 408 - 3 * t] = right
    return frames


@pytest.fixture(scope="module")
def clip(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with VideoWriter(path, rate=10, size=(420, 160)) as video:
        for frame in scene:
            video.write(frame)
    return path


def examiners():
    return [t for t in threading.enumerate() if t.name.startswith(("reader", "examiner"))]


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 3},
        {"batch_size": 3, "detect_every": 4, "smooth": 0.2},
        {"batch_size": 7, "detect_every": 40},
    ],
    ids=["detecting", "following", "one detection"],
)
def test_files_are_those_of_one_batch_after_the_other(model, clip, tmp_path, settings):
    names = ("rows.csv", "rows.parquet", "rows.jsonl", "rows.vtt")
    content = {}
    for overlap in (True, False):
        annotator = FrameAnnotator(model, overlap=overlap, **settings)
        paths = [tmp_path / name for name in names]
        annotator.to_file(clip, paths, video=tmp_path / "marked.mp4")
        content[overlap] = [p.read_bytes() for p in (*paths, tmp_path / "marked.mp4")]
    assert content[True] == content[False]
    assert examiners() == []


@pytest.mark.parametrize("source", ["array", "list", "bytes"])
def test_every_source_at_rest_is_read_ahead(model, scene, clip, source):
    given = {"array": scene, "list": list(scene), "bytes": clip.read_bytes()}[source]
    rows = FrameAnnotator(model, batch_size=2).annotate_frames(given)
    next(rows)
    assert examiners() != []
    assert len([1, *rows]) == 20
    assert examiners() == []


def test_a_generator_is_read_in_the_callers_thread_only_when_it_is_asked(model, scene):
    threads = []

    def stream():
        for frame in scene:
            threads.append(threading.current_thread())
            yield frame

    rows = FrameAnnotator(model, batch_size=2).annotate_frames(stream())
    next(rows)
    assert threads == [threading.main_thread()] * 2


def test_no_more_than_some_batches_are_in_memory(model, scene, n_threads):
    asked = []

    class Frames(list):
        def __iter__(self):
            for frame in super().__iter__():
                asked.append(1)
                yield frame

    frames = Frames(scene)
    rows = FrameAnnotator(model, batch_size=2, detect_every=40).annotate_frames(frames)
    for taken in range(1, 13):
        next(rows)
        time.sleep(0.01)
        assert len(asked) <= 2 * ((taken + 1) // 2 + n_threads + 1)
    rows.close()
    assert examiners() == []


def test_the_rows_before_an_error_are_given(model, scene):
    bad = [*scene[:7], np.zeros((2, 2), float), *scene[7:]]
    crowd = [*scene[8:12], *scene[:4]]
    broken = [*scene[:6], "nowhere.png"]
    for frames, settings, error, message, n_good in (
        (bad, {}, InvalidImageError, "frame 7", 6),
        (crowd, {"max_faces": 1}, MediaLimitError, "0.16 s has 2 faces", 4),
        (broken, {}, MediaReadError, "frame 6: there is no such file", 6),
    ):
        for overlap in (True, False):
            annotator = FrameAnnotator(model, batch_size=2, overlap=overlap, **settings)
            seen = []
            with pytest.raises(error, match=message):
                seen.extend(frame.index for frame, _ in annotator.annotate_frames(frames))
            assert seen == list(range(n_good))
    assert examiners() == []


def test_an_error_of_the_model_ends_all(model, scene, monkeypatch):
    examine = Session.examine

    def fail(self, frames, place, *rest):
        if place >= 4:
            raise RuntimeError(f"no memory for frame {place}")
        return examine(self, frames, place, *rest)

    monkeypatch.setattr(Session, "examine", fail)
    annotator = FrameAnnotator(model, batch_size=2, detect_every=3)
    with pytest.raises(RuntimeError, match="frame 4"):
        annotator.to_dataframe(scene)
    assert examiners() == []


# An interrupt between opening a file and entering its `with` leaves the file to the garbage
# collector. It is closed and unlocked at once, which the next call shows, but Python warns.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that interrupts")
def test_interrupts_at_any_moment_leave_no_thread_and_no_lost_row(model, clip, tmp_path):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    annotator = FrameAnnotator(model, batch_size=2, detect_every=3)
    annotator.to_file(clip, tmp_path / "whole.csv")
    rows = tmp_path / "rows.csv"
    rng = np.random.default_rng(0)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        interrupted = 0
        for _ in range(25):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.005, 0.15))
                annotator.to_file(clip, rows, resume=True)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if rows.exists():
                rows.unlink()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 5
    annotator.to_file(clip, rows, resume=(tmp_path / "rows.csv.partial").exists())
    assert rows.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    deadline = time.monotonic() + 30
    while examiners() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert examiners() == []
    assert sorted(os.listdir(tmp_path)) == ["rows.csv", "whole.csv"]
