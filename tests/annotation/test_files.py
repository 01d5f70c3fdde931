import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, FrameAnnotator, JointAffectEstimator, save_model
from persona_affect.annotation import Session
from persona_affect.annotation._journal import Journal
from persona_affect.datasets import make_affect_faces
from persona_affect.exceptions import (
    MediaReadError,
    OutputError,
    OutputInUseError,
    OutputPathError,
)
from persona_affect.media import FrameSequence, VideoWriter, iter_frames, open_clip

pytest.importorskip("trackers", reason="needs the extra app")


@pytest.fixture(scope="module")
def model():
    faces = make_affect_faces(4, random_state=0)
    estimator = JointAffectEstimator(max_epochs=1, random_state=0)
    return make_pipeline(FaceAligner(), estimator).fit(faces.data, faces.target)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two faces that move past a grey background; the right one is hidden in frames 8 to 11."""
    left, right = make_affect_faces(1, random_state=3).data
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with VideoWriter(path, rate=10, size=(420, 160)) as video:
        for t in range(20):
            frame = np.full((160, 420, 3), 128, dtype=np.uint8)
            frame[10:138, 10 + 3 * t : 138 + 3 * t] = left
            if not 8 <= t < 12:
                frame[20:148, 280 - 3 * t : 408 - 3 * t] = right
            video.write(frame)
    return path


def annotator(model, **settings):
    return FrameAnnotator(model, **{"detect_every": 3, "smooth": 0.5, "batch_size": 4} | settings)


class StoppedError(Exception):
    pass


@pytest.fixture
def stop_after(monkeypatch):
    """Interrupt an annotation after so many batches."""

    def arrange(n_batches):
        whole, done = Session.make_rows, []

        def make_rows(self, frames, seen):
            if len(done) == n_batches:
                raise StoppedError
            done.append(len(frames))
            return whole(self, frames, seen)

        monkeypatch.setattr(Session, "make_rows", make_rows)
        return lambda: (monkeypatch.setattr(Session, "make_rows", whole), done)[1]

    return arrange


def test_every_format_holds_the_same_rows(model, clip, tmp_path):
    expected = annotator(model).to_dataframe(clip)
    paths = [tmp_path / f"rows{suffix}" for suffix in (".csv", ".parquet", ".jsonl")]
    annotator(model).to_file(clip, paths)
    for path, read in zip(
        paths,
        (pd.read_csv, pd.read_parquet, lambda path: pd.read_json(path, lines=True)),
        strict=True,
    ):
        pd.testing.assert_frame_equal(
            read(path), expected, check_dtype=False, check_exact=path.suffix == ".parquet"
        )
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_missing_values_are_empty_or_null(model, tmp_path):
    grey = np.full((3, 64, 64, 3), 128, dtype=np.uint8)
    paths = [tmp_path / f"rows{suffix}" for suffix in (".csv", ".parquet", ".jsonl", ".vtt")]
    annotator(model).to_file(grey, paths)
    assert (tmp_path / "rows.csv").read_text().splitlines()[1].startswith("0,0.0,,,")
    assert json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[2])["face"] is None
    table = pd.read_parquet(tmp_path / "rows.parquet")
    assert table["frame"].tolist() == [0, 1, 2]
    assert table.drop(columns=["frame", "time"]).isna().all(axis=None)
    assert "-->" not in (tmp_path / "rows.vtt").read_text()


def test_subtitles_are_means_over_half_a_second(model, clip, tmp_path):
    annotator(model).to_file(clip, tmp_path / "clip.vtt")
    head, *cues = (tmp_path / "clip.vtt").read_text().strip().split("\n\n")
    assert head == "WEBVTT"
    assert cues.pop(0).startswith("NOTE Apparent impressions")
    _, *faces = cues[1].splitlines()
    assert [cue.splitlines()[0] for cue in cues] == [
        "00:00:00.000 --> 00:00:00.500",
        "00:00:00.500 --> 00:00:01.000",
        "00:00:01.000 --> 00:00:01.500",
        "00:00:01.500 --> 00:00:02.000",
    ]
    table = annotator(model).to_dataframe(clip).query("face == 0 and 5 <= frame < 10")
    shown = dict(part.rsplit(" ", 1) for part in faces[0].removeprefix("Face 0: ").split(", "))
    assert list(shown) == model[-1].target_names_
    for name, value in shown.items():
        assert float(value) == pytest.approx(table[name].mean(), rel=5e-3)


@pytest.mark.parametrize("n_batches", [0, 1, 3])
def test_a_resumed_call_ends_as_if_never_interrupted(model, clip, tmp_path, stop_after, n_batches):
    paths = [tmp_path / "rows.csv", tmp_path / "rows.vtt"]
    annotator(model).to_file(clip, paths)
    whole = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()

    release = stop_after(n_batches)
    with pytest.raises(StoppedError):
        annotator(model).to_file(clip, paths)
    release()
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv.partial"]
    stop = stop_after(5 - n_batches)  # 20 frames are five batches
    annotator(model).to_file(clip, paths, resume=True, video=tmp_path / "clip.mp4")
    assert len(stop()) == 5 - n_batches
    assert [path.read_bytes() for path in paths] == whole
    assert len(open_clip(tmp_path / "clip.mp4")) == 20


@pytest.mark.parametrize("suffix", [".tar", ".parquet"])
def test_a_clip_in_an_archive_is_resumed(model, clip, tmp_path, stop_after, suffix):
    archive = tmp_path / f"clips{suffix}"
    if suffix == ".tar":
        with tarfile.open(archive, "w") as tar:
            tar.add(clip, "day/talk.mp4")
        inside = f"{archive}/day/talk.mp4"
    else:
        pd.DataFrame({"clip": [b"", clip.read_bytes()]}).to_parquet(archive)
        inside = f"{archive}/clip/1"
    path = tmp_path / "rows.csv"
    annotator(model).to_file(clip, path)
    whole = path.read_bytes()
    path.unlink()
    release = stop_after(3)
    with pytest.raises(StoppedError):
        annotator(model).to_file(inside, path)
    release()
    stop = stop_after(2)
    annotator(model).to_file(inside, path, resume=True, video=tmp_path / "clip.mp4")
    assert len(stop()) == 2
    assert path.read_bytes() == whole
    assert len(open_clip(tmp_path / "clip.mp4")) == 20
    if suffix == ".parquet":
        with pytest.raises(OutputPathError, match="is also an input"):
            annotator(model).to_file(inside, archive)


@pytest.mark.parametrize("torn", [b"", b"[[8, 0.8, 0, 1", b"\xff"])
def test_a_torn_line_is_done_again(model, clip, tmp_path, stop_after, torn):
    path = tmp_path / "rows.csv"
    annotator(model).to_file(clip, path)
    whole = path.read_bytes()
    path.unlink()
    release = stop_after(3)
    with pytest.raises(StoppedError):
        annotator(model).to_file(clip, path)
    release()
    partial = tmp_path / "rows.csv.partial"
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(b"".join(lines[:8]) + torn)
    annotator(model).to_file(clip, path, resume=True)
    assert path.read_bytes() == whole


def test_resuming_another_call_is_refused(model, clip, tmp_path, stop_after):
    path = tmp_path / "rows.csv"
    release = stop_after(2)
    with pytest.raises(StoppedError):
        annotator(model).to_file(clip, path)
    release()
    kept = (tmp_path / "rows.csv.partial").read_bytes()

    other_clip = tmp_path / "other.mp4"
    with VideoWriter(other_clip, rate=10, size=(420, 160)) as video:
        for frame in reversed(list(iter_frames(clip))):
            video.write(frame.image)
    faces = make_affect_faces(4, random_state=1)
    other_model = make_pipeline(
        FaceAligner(), JointAffectEstimator(max_epochs=1, random_state=0)
    ).fit(faces.data, faces.target)
    for what, call, source in (
        ("clip", annotator(model), other_clip),
        ("model", annotator(other_model), clip),
        ("smooth", annotator(model, smooth=1.0), clip),
        ("detect_every", annotator(model, detect_every=1), clip),
    ):
        with pytest.raises(ValueError, match=f"another call: {what} differ"):
            call.to_file(source, path, resume=True)
    with pytest.raises(ValueError, match="clip that can be identified"):
        annotator(model).to_file((f.image for f in iter_frames(clip)), path, resume=True)
    assert (tmp_path / "rows.csv.partial").read_bytes() == kept
    annotator(model).to_file(clip, path, resume=True)
    with pytest.raises(ValueError, match="complete"):
        annotator(model).to_file(clip, path, resume=True)


def test_bad_targets_are_named_before_the_work(model, clip, tmp_path):
    for name, error in (
        ("rows.xlsx", ValueError),
        ("nowhere/rows.csv", OutputPathError),
    ):
        with pytest.raises(error, match=name):
            annotator(model).to_file(clip, tmp_path / name)
    with pytest.raises(MediaReadError):
        annotator(model).to_file(tmp_path / "nowhere.mp4", tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []


def test_outputs_never_replace_the_source(model, clip, tmp_path):
    own = tmp_path / "own.mp4"
    own.write_bytes(clip.read_bytes())
    (tmp_path / "link.mp4").symlink_to(own)
    os.link(own, tmp_path / "hard.mp4")
    partial = tmp_path / "rows.csv.partial"
    partial.write_bytes(clip.read_bytes())
    images = [tmp_path / f"{i}.csv" for i in range(2)]
    for image in images:
        image.write_bytes(b"image")
    calls = [
        (own, {"path": tmp_path / "rows.vtt", "video": tmp_path / "link.mp4"}),
        (tmp_path / "link.mp4", {"path": tmp_path / "rows.vtt", "video": tmp_path / "hard.mp4"}),
        (partial, {"path": tmp_path / "rows.csv"}),
        (FrameSequence(tuple(map(str, images))), {"path": images[1]}),
    ]
    for source, outputs in calls:
        with pytest.raises(OutputPathError, match="is also an input"):
            annotator(model).to_file(source, **outputs)
    with pytest.raises(OutputPathError, match="is also an input"):
        annotator(model).to_video(own, tmp_path / "hard.mp4")
    with pytest.raises(OutputPathError, match="named twice"):
        annotator(model).to_file(own, [tmp_path / "a.csv", tmp_path / "a.csv"])
    with pytest.raises(OutputPathError, match=r"must end in \.mp4"):
        annotator(model).to_file(own, tmp_path / "a.csv", video=tmp_path / "a.avi")
    assert own.read_bytes() == partial.read_bytes() == clip.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("own.mp4", "link.mp4", "hard.mp4", "rows.csv.partial", "0.csv", "1.csv")
    }


def test_two_calls_do_not_mix_their_rows(model, clip, tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    annotator(model).to_file(clip, path)
    alone = path.read_bytes()
    path.unlink()
    refused = []
    make_rows = Session.make_rows

    def meanwhile(self, frames, seen):
        if not refused:
            for resume in (False, True):
                with pytest.raises(OutputInUseError, match="in use by another run") as caught:
                    annotator(model).to_file(clip, path, resume=resume)
                refused.append(str(caught.value))
        return make_rows(self, frames, seen)

    monkeypatch.setattr(Session, "make_rows", meanwhile)
    annotator(model).to_file(clip, path)
    assert len(refused) == 2
    assert path.read_bytes() == alone
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


@pytest.fixture
def limit_files():
    """Let files grow to some bytes alone, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n_bytes=None):
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if n_bytes is None else n_bytes, hard))

    yield limit
    limit()


@pytest.mark.parametrize("n_bytes", [10, 700, 2000, 4500])
def test_a_disk_that_fills_during_the_work_loses_no_rows(
    model, clip, tmp_path, limit_files, n_bytes
):
    path = tmp_path / "rows.csv"
    annotator(model).to_file(clip, path)
    expected = path.read_bytes()
    path.write_bytes(b"before")
    limit_files(n_bytes)
    with pytest.raises(OutputError, match=r"rows\.csv\.partial cannot be written: .*large"):
        annotator(model).to_file(clip, path)
    limit_files()
    assert path.read_bytes() == b"before"
    assert {p.name for p in tmp_path.iterdir()} == {"rows.csv", "rows.csv.partial"}
    annotator(model).to_file(clip, path, resume=True)
    assert path.read_bytes() == expected


def test_a_video_that_does_not_fit_loses_no_rows(model, clip, tmp_path, limit_files):
    path, video = tmp_path / "rows.csv", tmp_path / "marked.mp4"
    video.write_bytes(b"before")
    limit_files(12_000)
    with pytest.raises(OutputError, match=r"(marked\.mp4|rows\.csv\.partial) cannot be written"):
        annotator(model).to_file(clip, path, video=video)
    limit_files()
    assert video.read_bytes() == b"before"
    assert {p.name for p in tmp_path.iterdir()} == {"marked.mp4", "rows.csv.partial"}
    annotator(model).to_file(clip, path, video=video, resume=True)
    assert len(open_clip(video)) == 20
    assert len(pd.read_csv(path)["frame"].unique()) == 20


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".vtt", ".parquet"])
def test_a_disk_that_is_full_at_the_end_loses_no_rows(
    model, clip, tmp_path, monkeypatch, limit_files, suffix
):
    path = tmp_path / f"rows{suffix}"
    annotator(model).to_file(clip, path)
    expected = path.read_bytes()
    path.write_bytes(b"before")
    record = Journal.record

    def record_and_fill(self, frames):
        record(self, frames)
        limit_files(300)

    monkeypatch.setattr(Journal, "record", record_and_fill)
    with pytest.raises(OutputError, match=rf"rows\{suffix} cannot be written: .*large"):
        annotator(model).to_file(clip, path)
    limit_files()
    monkeypatch.undo()
    assert path.read_bytes() == b"before"
    assert {p.name for p in tmp_path.iterdir()} == {path.name, f"{path.name}.partial"}
    annotator(model).to_file(clip, path, resume=True)
    assert path.read_bytes() == expected


def test_a_video_of_the_faces(model, clip, tmp_path):
    table = annotator(model).to_video(clip, tmp_path / "marked.mp4")
    pd.testing.assert_frame_equal(table, annotator(model).to_dataframe(clip))
    before, after = list(iter_frames(clip)), list(iter_frames(tmp_path / "marked.mp4"))
    np.testing.assert_allclose(
        [frame.time for frame in after], [frame.time for frame in before], atol=1e-4
    )
    first = table.iloc[0]
    edge = after[0].image[round(first["y"] + first["height"] / 2), round(first["x"])]
    assert edge[2] > edge[0] + 40  # the first face's colour is a light blue


@pytest.mark.slow
def test_memory_is_flat_over_a_long_clip(model, tmp_path):
    """Ten times the frames, the same peak of the whole process, FFmpeg and torch included."""
    save_model(model, tmp_path / "model.safetensors")
    face = make_affect_faces(1, random_state=3).data[0]
    script = textwrap.dedent("""
        import resource, sys
        from persona_affect import FrameAnnotator, load_model
        annotator = FrameAnnotator(load_model(sys.argv[1]), detect_every=5, smooth=0.5)
        folder = sys.argv[3]
        paths = [f"{folder}/rows.csv", f"{folder}/rows.parquet", f"{folder}/rows.vtt"]
        annotator.to_file(sys.argv[2], paths, video=f"{folder}/marked.mp4")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """)
    peaks = []
    for length in (100, 1000):
        clip = tmp_path / f"{length}.mp4"
        with VideoWriter(clip, rate=25, size=(240, 160)) as video:
            for t in range(length):
                frame = np.full((160, 240, 3), 128, dtype=np.uint8)
                frame[16:144, 50 + t % 20 : 178 + t % 20] = face
                video.write(frame)
        command = [sys.executable, "-c", script, tmp_path / "model.safetensors", clip, tmp_path]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout))
        assert len(pd.read_csv(tmp_path / "rows.csv")) == length
    # In KiB: a tenth of the 900 further frames would weigh 10 MiB.
    assert peaks[1] - peaks[0] < 10 * 1024


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_killed_process_is_resumed(model, clip, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    annotator(model).to_file(clip, tmp_path / "whole.csv")
    script = textwrap.dedent("""
        import os, signal, sys
        from persona_affect import FrameAnnotator, load_model
        from persona_affect.annotation import Session
        make_rows = Session.make_rows
        def dying(self, frames, seen):
            if self.n_seen == 12 and sys.argv[4] == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            return make_rows(self, frames, seen)
        Session.make_rows = dying
        annotator = FrameAnnotator(
            load_model(sys.argv[1]), detect_every=3, smooth=0.5, batch_size=4
        )
        annotator.to_file(sys.argv[2], sys.argv[3], resume=True)
    """)
    rows = tmp_path / "rows.csv"
    command = [sys.executable, "-c", script, tmp_path / "model.safetensors", clip, rows]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([*command, "die"], check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert not rows.exists()
    subprocess.run([*command, "live"], check=True, env=environment)
    pd.testing.assert_frame_equal(
        pd.read_csv(rows), pd.read_csv(tmp_path / "whole.csv"), rtol=1e-4, atol=1e-4
    )
