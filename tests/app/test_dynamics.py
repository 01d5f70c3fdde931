import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from persona_affect import FaceAligner, load_model
from persona_affect.app import _dynamics_live, _dynamics_rows
from persona_affect.app.cli import app
from persona_affect.estimators import _dynamics_training
from persona_affect.media import open_clip


def run(*arguments):
    return CliRunner().invoke(app, ["dynamics", *map(str, arguments)])


@pytest.fixture(scope="module")
def people(clip_file, tmp_path_factory):
    """Two clips of one person, one of another, and a file that is none."""
    root = tmp_path_factory.mktemp("people")
    for name in ("ann/one.mp4", "ann/two.mp4", "bob/one.mp4"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(clip_file, root / name)
    return root


@pytest.fixture(scope="module")
def net(people, tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    scales = ("--scale", 0.04, "--scale", 0.12, "--epochs", 1, "--device", "cpu")
    result = run("fit", people / "ann", "--output", path, *scales)
    assert result.exit_code == 0, result.output
    assert "scales of 0.04, 0.12 s, from 2 of 2 clips" in result.output
    return path


def test_the_model_has_its_rate_and_no_local_folder(net):
    aligner, encoder = load_model(net)
    assert (aligner.rate, aligner.cache) == (25, None)
    # Bars are of the call that shows them.
    assert (aligner.verbose, encoder.verbose) == (False, 0)
    assert encoder.net_.scales == (1, 3)


def test_fit_goes_on_after_an_interruption(people, tmp_path, monkeypatch):
    whole, output = tmp_path / "whole.safetensors", tmp_path / "net.safetensors"
    call = ("fit", people / "ann", "--scale", 0.04, "--device", "cpu", "--epochs", 2)
    assert run(*call, "--output", whole).exit_code == 0
    expected = learnt(whole)
    assert "is finished" in run(*call, "--output", whole).output
    compute, calls = _dynamics_training.compute_maps, []

    def stop(*args):
        calls.append(args)
        # One clip is for the training, the other is held out.
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_dynamics_training, "compute_maps", stop)
        assert run(*call, "--output", output).exit_code == 130
    assert (tmp_path / "net.safetensors.checkpoint").exists()
    refused = run(*call, "--seed", 1, "--output", output)
    assert refused.exit_code == 2
    assert "unfinished training with other data or options" in refused.output
    # Faces that were found before the interruption are not searched for again.
    with monkeypatch.context() as patch:
        patch.setattr(FaceAligner, "align_faces", None)
        result = run(*call, "--output", output)
    assert result.exit_code == 0, result.output
    assert learnt(output) == expected
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, output.name}


def learnt(path):
    """All tensors but times."""
    with safe_open(path, "np") as file:
        names = {*file.keys()} - {"1.history.seconds"}
        return {name: file.get_tensor(name).tobytes() for name in names}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_row_a_person_with_named_columns(people, net, tmp_path, suffix):
    table, cache = tmp_path / f"table{suffix}", tmp_path / "faces"
    result = run("describe", people, "--by-folder", "--model", net, "-o", table, "--cache", cache)
    assert result.exit_code == 0, result.output
    read = {".parquet": pd.read_parquet, ".csv": pd.read_csv}
    rows = read.get(suffix, lambda path: pd.read_json(path, lines=True))(table)
    assert rows["person"].tolist() == ["ann", "bob"]
    assert rows["n_clips"].tolist() == [2, 1]
    assert rows["n_frames"].tolist() == [24, 12]
    aligner, encoder = load_model(net)
    faces = aligner.transform([str(people / "bob/one.mp4")])
    names = encoder.get_feature_names_out()
    np.testing.assert_allclose(rows[names].loc[1], encoder.transform(faces)[0], rtol=1e-5)
    assert list(cache.iterdir())
    assert not list(tmp_path.glob("*.partial"))


def test_persons_of_a_table_and_a_clip_that_cannot_be_read(people, net, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    owners = tmp_path / "persons.csv"
    files = [people / "ann/one.mp4", people / "bob/one.mp4", "broken.mp4"]
    pd.DataFrame({"file": files, "person": ["x", "x", "y"]}).to_csv(owners, index=False)
    table = tmp_path / "table.csv"
    call = ("describe", people, tmp_path / "broken.mp4", "--model", net, "-o", table)
    result = run(*call, "--persons", owners)
    assert result.exit_code == 1
    assert "1 of 2 persons have an error" in result.output
    rows = pd.read_csv(table).set_index("person")
    assert rows.loc["x", "n_clips"] == 2
    assert "broken.mp4" in rows.loc["y", "error"]
    assert rows.loc["y"].isna().sum() == rows.shape[1] - 3
    for wrong, message in (
        (("--persons", owners, "--by-folder"), "give one"),
        (("--persons", tmp_path / "broken.mp4"), "columns file and person"),
    ):
        result = run(*call, *wrong)
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())


def test_an_interrupted_call_goes_on(people, net, tmp_path, monkeypatch):
    table, whole = tmp_path / "table.csv", tmp_path / "whole.csv"
    call = ("describe", people, "--model", net, "--cache", tmp_path / "faces", "-o")
    assert run(*call, whole).exit_code == 0
    describe, done = _dynamics_rows._describe, []

    def interrupted(aligner, encoder, person, clips):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(person)
        return describe(aligner, encoder, person, clips)

    monkeypatch.setattr(_dynamics_rows, "_describe", interrupted)
    assert run(*call, table).exit_code == 130
    assert not table.exists()
    partial = tmp_path / "table.csv.partial"
    # Killed while a line was written.
    partial.write_bytes(partial.read_bytes() + b'{"person": "ha')
    other = run("describe", people / "bob", "--model", net, "-o", table)
    assert other.exit_code == 2
    assert "other clips or another model" in " ".join(other.output.split())
    monkeypatch.setattr(_dynamics_rows, "_describe", describe)
    assert run(*call, table).exit_code == 0
    assert table.read_bytes() == whole.read_bytes()
    assert not partial.exists()


def test_a_model_of_another_kind(people, tmp_path, model):
    from persona_affect import save_model

    save_model(model, tmp_path / "other.safetensors")
    result = run(
        "describe", people, "-m", tmp_path / "other.safetensors", "-o", tmp_path / "table.csv"
    )
    assert result.exit_code == 2
    assert "no model of dynamics" in result.output


def camera_of(clip_file):
    """The frames of a video, as a camera gives them: then Ctrl+C."""

    def read(camera, seconds):
        for frame in open_clip(clip_file):
            read.last = (read.n_read / 25, np.asarray(frame))
            read.n_read += 1
            yield read.last
        raise KeyboardInterrupt

    read.n_read = 0
    return read


def test_a_camera_is_described_until_interrupted(clip_file, net, tmp_path, monkeypatch):
    read = camera_of(clip_file)
    monkeypatch.setattr(_dynamics_live, "read_camera", read)
    table = tmp_path / "ann.csv"
    result = run("live", "--model", net, "--output", table, "--person", "ann", "--device", "cpu")
    assert result.exit_code == 0, result.output
    rows = pd.read_csv(table)
    aligner, encoder = load_model(net)
    faces = aligner.transform([str(clip_file)])
    assert rows.loc[0, ["person", "n_clips", "n_frames"]].tolist() == ["ann", 1, len(faces[0])]
    names = encoder.get_feature_names_out()
    values, expected = rows[names].to_numpy()[0], encoder.transform(faces)[0]
    # The video has its own times, rounded.
    assert np.corrcoef(values, expected)[0, 1] > 0.999
    assert f"from {read.n_read} frames, 0 gaps" in result.output


def test_a_camera_without_a_face_is_an_error(net, tmp_path, monkeypatch):
    black = [(i / 25, np.zeros((120, 160, 3), np.uint8)) for i in range(3)]
    monkeypatch.setattr(_dynamics_live, "read_camera", lambda camera, seconds: iter(black))
    result = run("live", "--model", net, "--output", tmp_path / "nobody.csv", "--device", "cpu")
    assert result.exit_code == 1
    assert "No face was seen for more than" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_camera_gives_its_newest_frames_and_stops(monkeypatch):
    freed = []

    def camera(number):
        try:
            for i in range(10**6):
                yield np.full((8, 8, 3), i % 256, np.uint8)
        finally:
            freed.append(number)

    monkeypatch.setattr("persona_affect.annotation.open_camera", camera)
    times = [at for at, _ in _dynamics_live.read_camera(3, 0.2)]
    assert times[0] == 0.0
    assert times[-1] <= 0.2
    assert np.all(np.diff(times) >= 0)
    assert freed == [3]
