import csv
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner

from persona_affect import FaceAligner, FrameAnnotator, JointAffectEstimator, load_model, save_model
from persona_affect._files import open_locked
from persona_affect.annotation import Session
from persona_affect.app.cli import app
from persona_affect.datasets import make_affect_faces
from persona_affect.media import VideoWriter, open_clip

pytest.importorskip("trackers", reason="needs the extra app")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotate")
    faces = make_affect_faces(4, random_state=0)
    model = make_pipeline(FaceAligner(), JointAffectEstimator(max_epochs=1, random_state=0))
    save_model(model.fit(faces.data, faces.target), folder / "model.safetensors")
    with VideoWriter(folder / "clip.mp4", rate=10, size=(160, 144)) as video:
        for t in range(20):
            frame = np.full((144, 160, 3), 128, dtype=np.uint8)
            frame[8:136, 8 + t : 136 + t] = faces.data[0]
            video.write(frame)
    return folder


def run(folder, *arguments):
    call = ["annotate", folder / "clip.mp4", "--model", folder / "model.safetensors", *arguments]
    return CliRunner().invoke(app, [*map(str, call)])


def test_all_at_once(folder, tmp_path):
    result = run(
        folder,
        *("-o", tmp_path / "a.csv", "-o", tmp_path / "a.vtt", "--video", tmp_path / "a.mp4"),
        *("--detect-every", 4, "--smooth", 0.5),
        *("--detector", "mtcnn", "--mirror"),
    )
    assert result.exit_code == 0, result.stderr
    model = load_model(folder / "model.safetensors")
    expected = FrameAnnotator(model, detect_every=4, smooth=0.5).to_dataframe(folder / "clip.mp4")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "a.csv"), expected, check_dtype=False, rtol=1e-4, atol=1e-4
    )
    assert (tmp_path / "a.vtt").read_text().startswith("WEBVTT")
    assert len(open_clip(tmp_path / "a.mp4")) == 20
    assert "Apparent impressions: what raters would say" in result.stderr


def test_by_default_clips_are_annotated_fast_and_the_command_says_how(folder, tmp_path):
    result = run(folder, "-o", tmp_path / "a.csv")
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert "torch in float32, one view of each face" in said
    assert "Faces are found by yunet." in said
    model = load_model(folder / "model.safetensors")
    exact = FrameAnnotator(model).to_dataframe(folder / "clip.mp4")
    table = pd.read_csv(tmp_path / "a.csv")
    assert table["face"].tolist() == exact["face"].tolist()
    places = ["x", "y", "width", "height"]
    assert (table[places] - exact[places]).abs().to_numpy().max() < 0.1 * exact["width"].mean()


def test_rows_of_another_engine_are_not_continued(folder, tmp_path, monkeypatch):
    def stop(self, *_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Session, "make_rows", stop)
        assert run(folder, "-o", tmp_path / "a.csv").exit_code == 130
    for option in (["--mirror"], ["--detector", "mtcnn"]):
        result = run(folder, "-o", tmp_path / "a.csv", "--resume", *option)
        assert result.exit_code == 2
        assert "is of another call" in " ".join(result.stderr.split())
    assert run(folder, "-o", tmp_path / "a.csv", "--resume").exit_code == 0


def test_rows_go_to_a_pipe(folder):
    result = run(folder, "--no-track")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert result.exit_code == 0
    assert [row["frame"] for row in rows] == [str(n) for n in range(20)]
    assert {row["face"] for row in rows} == {"0"}


def test_the_video_alone(folder, tmp_path):
    assert run(folder, "--video", tmp_path / "a.mp4").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_resume_starts_where_nothing_was_interrupted(folder, tmp_path):
    assert run(folder, "-o", tmp_path / "a.csv", "--resume").exit_code == 0
    assert len(pd.read_csv(tmp_path / "a.csv")) == 20


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--resume"], 2, "--output"),
        (["-o", "a.xlsx"], 2, ".csv"),
        (["--video", "a.avi"], 2, ".mp4"),
        (["--detect-every", "0"], 2, "detect-every"),
        (["--smooth", "1", "--no-track"], 2, "smooth"),
    ],
)
def test_wrong_calls(folder, arguments, code, message):
    result = run(folder, *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_outputs_never_replace_inputs(folder, tmp_path):
    clip, model = tmp_path / "clip.mp4", tmp_path / "model.csv"
    clip.write_bytes((folder / "clip.mp4").read_bytes())
    model.write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "link.mp4").symlink_to(clip)
    os.link(clip, tmp_path / "hard.mp4")
    before = clip.read_bytes(), model.read_bytes()
    for arguments in (
        *(["--video", tmp_path / name] for name in ("clip.mp4", "link.mp4", "hard.mp4")),
        ["-o", tmp_path / "rows.csv", "--video", tmp_path / "link.mp4"],
        ["-o", model],
    ):
        call = ["annotate", clip, "--model", model, *arguments]
        result = CliRunner().invoke(app, [*map(str, call)])
        assert result.exit_code == 2
        assert "is also an input" in result.stderr
    assert (clip.read_bytes(), model.read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 4


def test_a_clip_that_cannot_be_read(folder, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    call = ["annotate", tmp_path / "bad.mp4", "-m", folder / "model.safetensors"]
    result = CliRunner().invoke(app, [*map(str, call)])
    assert result.exit_code == 1
    assert "not a video" in result.stderr
    assert "bad.mp4: " in result.stderr
    # Not even the names of the columns.
    assert result.stdout == ""


@pytest.mark.filterwarnings("default::persona_affect.exceptions.MediaWarning")
def test_a_clip_that_breaks_off_is_annotated_so_far(folder, tmp_path):
    content = (folder / "clip.mp4").read_bytes()
    (tmp_path / "torn.mp4").write_bytes(content[: int(0.7 * len(content))])
    call = ["annotate", tmp_path / "torn.mp4", "-m", folder / "model.safetensors", "--no-track"]
    result = CliRunner().invoke(app, [*map(str, call)])
    assert result.exit_code == 0
    assert 1 < len(result.stdout.splitlines()) < 21
    assert any(line.startswith("Warning: the video") for line in result.stderr.splitlines())


def test_without_trackers_the_error_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    result = run(folder)
    assert result.exit_code == 2
    assert "persona-affect[app]" in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_resuming_is_not_advised_while_another_run_has_the_file(folder, tmp_path):
    with open_locked(tmp_path / "a.csv.partial"):
        result = run(folder, "-o", tmp_path / "a.csv")
    assert result.exit_code == 1
    assert "in use by another run" in result.stderr
    assert "--resume" not in result.stderr


@pytest.mark.slow
def test_an_interrupted_process_is_resumed(folder, tmp_path):
    with VideoWriter(tmp_path / "long.mp4", rate=25, size=(160, 144)) as video:
        for frame in open_clip(folder / "clip.mp4").repeat(60, axis=0):
            video.write(frame)
    rows = tmp_path / "rows.csv"
    command = [sys.executable, "-m", "persona_affect", "annotate", tmp_path / "long.mp4"]
    command += ["-m", folder / "model.safetensors", "-o", rows, "--detect-every", "10"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A shell starts background jobs, and so perhaps these tests, with interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    partial = tmp_path / "rows.csv.partial"
    while not partial.exists() or partial.read_bytes().count(b"\n") < 40:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "The same call with --resume continues" in stderr
    assert not rows.exists()
    subprocess.run([*command, "--resume"], check=True, env=environment)
    assert pd.read_csv(rows)["frame"].tolist() == list(range(1200))


def test_the_reliability_of_faces_is_a_column(folder, tmp_path):
    assert run(folder, "--no-track", "--reliability", "-o", tmp_path / "a.csv").exit_code == 0
    table = pd.read_csv(tmp_path / "a.csv")
    assert [*table.columns][-2:] == ["reliability", "remarks"]
    assert table["reliability"].between(0, 1).all()
    rows = csv.DictReader(io.StringIO(run(folder, "--no-track").stdout))
    assert "reliability" not in rows.fieldnames
