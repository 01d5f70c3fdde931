import csv
import io
import json
import os
import subprocess
import sys
import tarfile

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner

from persona_affect import (
    ConformalAffect,
    FaceAligner,
    JointAffectEstimator,
    load_model,
    save_model,
)
from persona_affect.app._inputs import find_inputs
from persona_affect.app._options import Engine, Precision
from persona_affect.app.cli import app
from persona_affect.datasets import make_affect_faces
from persona_affect.engines import ENGINES, PRECISIONS
from persona_affect.media import VideoWriter

TARGETS = ["extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness"]


def run(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def rows_of(result):
    return list(csv.DictReader(io.StringIO(result.stdout)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model; three photos (of one face, of two, of none); a clip; and a damaged photo."""
    folder = tmp_path_factory.mktemp("predict")
    faces = make_affect_faces(4, random_state=0)
    model = make_pipeline(FaceAligner(), JointAffectEstimator(max_epochs=1, random_state=0))
    save_model(model.fit(faces.data, faces.target), folder / "model.safetensors")
    left, right = make_affect_faces(1, random_state=3).data
    photos = folder / "photos"
    (photos / "more").mkdir(parents=True)

    def save(name, image):
        cv2.imwrite(str(photos / name), image[..., ::-1])

    save("one.png", left)
    small = cv2.resize(right, (90, 90))
    two = np.full((140, 260, 3), 128, np.uint8)
    two[6:134, 4:132], two[20:110, 150:240] = left, small
    save("more/two.png", two)
    save("none.png", np.full((80, 80, 3), 128, np.uint8))
    with VideoWriter(photos / "clip.mp4", rate=10, size=(128, 128)) as video:
        for _ in range(5):
            video.write(left)
    (photos / "damaged.jpg").write_bytes(b"\xff\xd8\xff damaged")
    (photos / "notes.txt").write_text("not a photo")
    return folder


def test_a_pipe_gets_csv_in_the_order_of_the_files(folder):
    photo, clip = folder / "photos/one.png", folder / "photos/clip.mp4"
    result = run(clip, photo, "--model", folder / "model.safetensors")
    assert result.exit_code == 0
    rows = rows_of(result)
    assert [row["file"] for row in rows] == [str(clip), str(photo)]
    expected = load_model(folder / "model.safetensors").predict([str(clip), str(photo)])
    names = load_model(folder / "model.safetensors")[-1].target_names_
    for row, values in zip(rows, expected, strict=True):
        assert [float(row[name]) for name in names] == pytest.approx(values.tolist(), abs=1e-4)
        assert row["error"] == ""
    assert float(rows[1]["width"]) > 40
    assert "Apparent impressions: what raters would say" in result.stderr


def test_photos_have_the_numbers_of_python(folder, tmp_path):
    photos = [folder / "photos/one.png", folder / "photos/more/two.png"]
    for size in (96, 173):
        photos.append(tmp_path / f"{size}.png")
        image = cv2.imread(str(photos[0]))
        cv2.imwrite(str(photos[-1]), cv2.resize(image, (size, size)))
    model = load_model(folder / "model.safetensors")
    rows = rows_of(run(*photos, "--model", folder / "model.safetensors"))
    for photo, row in zip(photos, rows, strict=True):
        found = [float(row[name]) for name in model[-1].target_names_]
        assert found == pytest.approx(model.predict([str(photo)])[0].tolist(), abs=1e-4, rel=0)


def test_an_engine_is_named_and_gives_the_numbers(folder):
    photos = ["--model", folder / "model.safetensors", folder / "photos/one.png"]
    plain, fast = run(*photos), run(*photos, "--engine", "torch")
    assert fast.exit_code == 0
    assert "Networks run by torch in float32" in fast.stderr
    assert "Networks run by" not in plain.stderr
    for name in TARGETS:
        found, wanted = float(rows_of(fast)[0][name]), float(rows_of(plain)[0][name])
        assert found == pytest.approx(wanted, rel=1e-4)


def test_the_options_have_the_names_of_the_engines():
    assert [*Engine] == ["auto", *ENGINES]
    assert [*Precision] == ["auto", *PRECISIONS]


def test_a_folder_with_bad_files(folder):
    result = run(folder / "photos", "--model", folder / "model.safetensors")
    assert result.exit_code == 1
    rows = {os.path.basename(row["file"]): row for row in rows_of(result)}
    assert set(rows) == {"one.png", "two.png", "none.png", "clip.mp4", "damaged.jpg"}
    assert rows["none.png"]["error"] == "no face found."
    assert "photo" in rows["damaged.jpg"]["error"]
    assert rows["damaged.jpg"]["openness"] == ""
    for name in ("one.png", "two.png", "clip.mp4"):
        assert rows[name]["error"] == ""
        assert float(rows[name]["openness"]) == pytest.approx(0.5, abs=0.5)
    assert "2 of 5 files" in result.stderr


def test_photos_and_clips_that_are_not_upright_are_named(folder, tmp_path):
    photo = cv2.imread(str(folder / "photos/one.png"))
    cv2.imwrite(str(tmp_path / "fine.png"), photo)
    for n_turns in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"turned{n_turns}.png"), np.rot90(photo, n_turns))
    with VideoWriter(tmp_path / "clip.mp4", rate=10, size=(128, 128)) as video:
        for _ in range(5):
            video.write(np.rot90(photo, 2)[..., ::-1])
    result = run(tmp_path, "-m", folder / "model.safetensors")
    assert result.exit_code == 1
    rows = {os.path.basename(row["file"]): row for row in rows_of(result)}
    turned = sorted(set(rows) - {"fine.png"})
    assert [name for name in rows if "--upright search" in rows[name]["error"]] == turned
    assert "4 files seem not to be upright:" in result.stderr
    for name in turned:
        assert result.stderr.count(f"{tmp_path / name}: ") == 1
    result = run(tmp_path, "-m", folder / "model.safetensors", "--upright", "search")
    assert result.exit_code == 0, result.stdout
    values = np.array([[float(row[name]) for name in TARGETS] for row in rows_of(result)])
    # The clip is compressed.
    assert np.abs(np.delete(values, 0, axis=0) - values[1]).max() < 0.01


# Of this small drawn face the detector is more certain when it is upside down.
@pytest.mark.filterwarnings("ignore:1 of 1 samples:persona_affect.exceptions.MediaWarning")
def test_the_model_says_which_face_of_a_photo_is_taken(folder, tmp_path):
    # The smaller face is nearer to the centre.
    photo = tmp_path / "two.png"
    two = cv2.imread(str(folder / "photos/more/two.png"))
    cv2.imwrite(str(photo), np.pad(two, ((0, 0), (0, 120), (0, 0)), constant_values=128))
    model = load_model(folder / "model.safetensors")
    boxes = {}
    for select in ("largest", "centre"):
        save_model(model.set_params(facealigner__select=select), tmp_path / "model.safetensors")
        (row,) = rows_of(run(photo, "-m", tmp_path / "model.safetensors"))
        boxes[select] = float(row["width"])
        expected = model.predict([str(photo)])[0]
        found = [float(row[name]) for name in model[-1].target_names_]
        assert found == pytest.approx(expected.tolist(), abs=1e-4, rel=0)
    assert boxes["centre"] < boxes["largest"]


@pytest.fixture
def tree(folder, tmp_path):
    """Photos of a known suffix, of none, behind links, and files that are no photos."""
    photo = (folder / "photos/one.png").read_bytes()
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for place in (root / "sub" / "deep", root / ".hidden", elsewhere):
        place.mkdir(parents=True)
    for name in ("a.png", "sub/b.jfif", "sub/deep/no_suffix", ".hidden/c.png"):
        (root / name).write_bytes(photo)
    (elsewhere / "d.png").write_bytes(photo)
    (root / "notes.txt").write_text("not a photo")
    (root / "old.pdf").write_bytes(b"%PDF-1.4")
    (root / ".DS_Store").write_bytes(b"a desktop's own")
    (root / "linked").symlink_to(elsewhere)
    for number in range(5):
        (root / f"loop{number}").symlink_to(root)
        (root / "sub" / f"loop{number}").symlink_to(root)
    return root


def test_folders_are_searched_through_and_what_is_left_out_is_listed(folder, tree):
    result = run(tree, "-m", folder / "model.safetensors")
    assert result.exit_code == 0, result.stderr
    found = [os.path.relpath(row["file"], tree) for row in rows_of(result)]
    assert found == [".hidden/c.png", "a.png", "linked/d.png", "sub/b.jfif", "sub/deep/no_suffix"]
    assert "2 files that are no photos or clips were left out" in result.stderr
    assert f"  {tree / 'notes.txt'}: " in result.stderr
    assert f"  {tree / 'old.pdf'}: " in result.stderr
    assert "DS_Store" not in result.stderr


def test_patterns_end_where_links_make_loops(tree, monkeypatch):
    inputs = find_inputs([f"{tree}/**/*.png"])
    assert [os.path.relpath(path, tree) for path in inputs.paths] == ["a.png", "linked/d.png"]
    monkeypatch.chdir(tree)
    assert find_inputs(["**/*.png"]).paths == ["a.png", "linked/d.png"]
    assert find_inputs(["**/sub/**/no*"]).paths == ["sub/deep/no_suffix"]
    assert find_inputs(["s*/**"]).paths == ["sub/b.jfif", "sub/deep/no_suffix"]
    assert find_inputs(["nothing*", "a.png", "a.png"]).paths == ["nothing*", "a.png"]


def test_photos_in_an_archive_have_the_numbers_of_the_files(folder, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name in ("one.png", "clip.mp4", "damaged.jpg", "notes.txt"):
            tar.add(folder / "photos" / name, name)
    (tmp_path / "other.tar").write_bytes(b"no archive" * 100)
    model = ("-m", folder / "model.safetensors")
    result = run(tmp_path, *model)
    assert result.exit_code == 1
    packed = rows_of(result)
    members = ("one.png", "clip.mp4", "damaged.jpg")
    assert [row["file"] for row in packed] == [f"{tmp_path}/shard.tar/{name}" for name in members]
    single = rows_of(run(*(folder / "photos" / name for name in members), *model))
    for row, other in zip(packed, single, strict=True):
        assert {**row, "file": ""} == {**other, "file": ""}
    assert "1 archives cannot be read" in result.stderr


def test_folders_that_cannot_be_listed_are_named(folder, tree, monkeypatch):
    listed = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    result = run(tree, "-m", folder / "model.safetensors")
    assert result.exit_code == 1
    assert len(rows_of(result)) == 4
    assert f"1 folders cannot be listed:\n  {tree}/sub/deep: Permission denied" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_not_utf_8_is_written_escaped(folder, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.png"
    with open(name, "wb") as file:
        file.write((folder / "photos/one.png").read_bytes())
    for arguments in ((), ("-o", tmp_path / "rows.csv"), ("-o", tmp_path / "rows.parquet")):
        result = run(tmp_path, "-m", folder / "model.safetensors", *arguments)
        assert result.exit_code == 0, result.stderr
    assert "\\udcff.png" in (tmp_path / "rows.csv").read_text()


def test_outputs_never_replace_inputs(folder, tmp_path):
    photo = tmp_path / "photo.csv"
    photo.write_bytes((folder / "photos/one.png").read_bytes())
    before = photo.read_bytes()
    result = run(photo, "--model", folder / "model.safetensors", "-o", photo)
    assert result.exit_code == 2
    assert "is also an input" in result.stderr
    assert photo.read_bytes() == before
    for output, message in ((tmp_path, "must end in"), (tmp_path / "no/a.csv", "does not exist")):
        result = run(photo, "-m", folder / "model.safetensors", "-o", output)
        assert (result.exit_code, message in result.stderr) == (2, True)


def test_all_faces_or_the_largest(folder):
    photo = folder / "photos/more/two.png"
    largest = rows_of(run(photo, "-m", folder / "model.safetensors"))
    both = rows_of(run(photo, "-m", folder / "model.safetensors", "--faces", "all"))
    assert len(largest) == 1
    assert [row["face"] for row in both] == ["0", "1"]
    widest = max(both, key=lambda row: float(row["width"]) * float(row["height"]))
    assert largest[0]["x"] == widest["x"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_tables_as_files(folder, tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    result = run(folder / "photos", "-m", folder / "model.safetensors", "-o", path)
    assert result.exit_code == 1
    assert result.stdout == ""
    table = {
        ".csv": pd.read_csv,
        ".parquet": pd.read_parquet,
        ".jsonl": lambda path: pd.DataFrame(map(json.loads, path.read_text().splitlines())),
    }[suffix](path)
    assert table["error"].notna().sum() == 2
    assert table[TARGETS].notna().all(axis=1).sum() == 3


def test_patterns_and_repeated_files(folder):
    result = run(
        str(folder / "photos/**/t*.png"),
        folder / "photos/more/two.png",
        "-m",
        folder / "model.safetensors",
    )
    assert result.exit_code == 0
    assert [row["file"] for row in rows_of(result)] == [str(folder / "photos/more/two.png")]


def test_more_photos_than_are_held_at_once(folder, tmp_path):
    content = (folder / "photos/one.png").read_bytes()
    for number in range(37):
        (tmp_path / f"{number:02}.png").write_bytes(content if number != 20 else b"")
    result = run(tmp_path, "-m", folder / "model.safetensors")
    rows = rows_of(result)
    assert result.exit_code == 1
    assert [os.path.basename(row["file"]) for row in rows] == [f"{n:02}.png" for n in range(37)]
    assert [n for n, row in enumerate(rows) if row["error"]] == [20]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--output", "table.xlsx"], r".csv"),
        (["--output", "nowhere/table.csv"], "does not exist"),
    ],
)
def test_a_wrong_call_is_two(folder, arguments, message):
    result = run(folder / "photos/one.png", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_there_is_an_error_of_its_own(folder):
    result = run("nowhere.jpg", folder / "photos/one.png", "-m", folder / "model.safetensors")
    missing, there = rows_of(result)
    assert result.exit_code == 1
    assert "no such file" in missing["error"]
    assert there["error"] == ""


@pytest.mark.slow
@pytest.mark.parametrize("width", ["70", "200"])
def test_a_terminal_gets_a_table(folder, width):
    """Through a pseudo-terminal, as a person would; a narrow one too shows every name."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "persona_affect", "predict", folder / "photos/one.png"]
    process = subprocess.Popen(
        [*command, "-m", folder / "model.safetensors"],
        stdout=follower,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": width, "TERM": "xterm", "OMP_NUM_THREADS": "1"},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(leader)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "one.png" in shown.decode()
    assert all(name in shown.decode() for name in TARGETS)
    assert "file,face" not in shown.decode()


@pytest.fixture(scope="module")
def calibrated(folder):
    """A model with a calibration, in a file."""
    faces = make_affect_faces(6, random_state=1)
    values = np.random.default_rng(0).uniform(size=faces.target.shape)
    labels = pd.DataFrame(values, columns=faces.target.columns)
    model = make_pipeline(FaceAligner(), JointAffectEstimator(max_epochs=1, random_state=0))
    model = ConformalAffect(model.fit(faces.data[:4], labels[:4]), random_state=0)
    save_model(
        model.conformalize(faces.data[4:], labels[4:], faces.groups[4:]),
        folder / "calibrated.safetensors",
    )
    return folder / "calibrated.safetensors"


def test_intervals_are_those_of_python(folder, calibrated):
    paths = [folder / "photos/one.png", folder / "photos/clip.mp4"]
    options = ["-m", calibrated, "--interval", 0.6]
    rows = rows_of(run(*paths, *options, "--no-widen"))
    expected = load_model(calibrated, intervals=True).predict_table(list(map(str, paths)), 0.4)
    for row, wanted in zip(rows, expected.to_dict("records"), strict=True):
        found = {name: float(row[name]) for name in wanted}
        assert found == pytest.approx(wanted, abs=1e-4)
        assert found["openness_low"] < found["openness"] < found["openness_high"]
    # Without a choice, the photo's intervals grow as its reliability falls.
    wide = rows_of(run(*paths, *options))
    assert wide[1] == rows[1]
    low = {name for name in rows[0] if name.endswith("_low")}
    assert all(float(wide[0][name]) <= float(rows[0][name]) for name in low)
    # What is asked for beside them changes no number.
    (plain,) = rows_of(run(paths[0], "-m", calibrated, "--no-reliability"))
    assert {name: rows[0][name] for name in plain} == plain
    assert not {"reliability", "remarks", "openness_low"} & plain.keys()


@pytest.mark.parametrize("level", ["0", "90", "1.0"])
def test_intervals_need_a_probability(folder, calibrated, level):
    result = run(folder / "photos/one.png", "-m", calibrated, "--interval", level)
    assert (result.exit_code, "probability" in result.stderr) == (2, True)


def test_intervals_need_a_calibration(folder):
    result = run(folder / "photos/one.png", "-m", folder / "model.safetensors", "--interval", 0.9)
    assert (result.exit_code, "calibration" in result.stderr) == (2, True)


def test_the_reliability_of_a_blurred_face_says_so(folder, tmp_path):
    image = cv2.imread(str(folder / "photos/one.png"))
    cv2.imwrite(str(tmp_path / "blurred.png"), cv2.GaussianBlur(image, (0, 0), 4))
    photos = [folder / "photos/one.png", tmp_path / "blurred.png", folder / "photos/none.png"]
    sharp, blurred, none = rows_of(run(*photos, "-m", folder / "model.safetensors"))
    assert float(blurred["reliability"]) < 0.8 < float(sharp["reliability"]) <= 1
    assert "blurred" in blurred["remarks"]
    assert sharp["remarks"] == none["remarks"] == none["reliability"] == ""
