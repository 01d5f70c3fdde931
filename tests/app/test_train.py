import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from persona_affect import load_model
from persona_affect.app.cli import app
from persona_affect.datasets import FORMATS, write_miniature
from persona_affect.datasets._registry import _FORMATS
from persona_affect.networks import (
    BACKBONES,
    Backbone,
    BackboneSpec,
    _registry,
    get_backbone_spec,
    register_backbone,
)

QUICK = ["--backbone", "sphereface4", "--epochs", "1", "--batch-size", "8", "--segments", "1"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def omi(tmp_path_factory):
    root = tmp_path_factory.mktemp("omi")
    write_miniature("omi", root / "set", n_clips=8)
    return root / "set"


@pytest.fixture(scope="module")
def csv(omi):
    """A file of one's own: some rated on warmth, some on valence, some for the test."""
    images = sorted((omi / "images").iterdir())
    table = pd.DataFrame({"path": [f"images/{image.name}" for image in images]})
    table["warmth"] = [0.1, 0.2, 0.3, None, None, 0.4, 0.5, 0.6]
    table["valence"] = [None, None, 0.3, -0.4, 0.6, 0.1, 0.2, -0.1]
    table["split"] = ["train"] * 6 + ["test"] * 2
    table.to_csv(omi / "own.csv", index=False)
    return omi / "own.csv"


def test_a_csv_file_becomes_a_model_that_is_scored(csv, tmp_path):
    model = tmp_path / "model.safetensors"
    trained = run("train", csv, "--output", model, "--cache", tmp_path / "faces", *QUICK)
    assert trained.exit_code == 0, trained.output
    assert "6 of 8 samples are for training" in trained.output
    loaded = load_model(model)
    assert loaded[-1].personality_names_ == ["warmth"]
    assert loaded[-1].emotion_names_ == ["valence"]
    assert loaded[0].cache is None
    table = tmp_path / "table.csv"
    scored = run("evaluate", model, csv, "--split", "test", "--output", table, "--resamples", "9")
    assert scored.exit_code == 0, scored.output
    assert "csv: 2 samples of 2 groups" in scored.output
    scores = pd.read_csv(table, index_col="target")
    assert scores.loc["warmth", "n_labels"] == 2
    expected = loaded.predict([csv.parent / p for p in pd.read_csv(csv)["path"][6:]])[:, 0]
    error = abs(expected - [0.5, 0.6]).mean()
    assert scores.loc["warmth", "accuracy_mae"] == pytest.approx(1 - error, abs=1e-6)
    # Processes that read ahead change nothing.
    again, cache = tmp_path / "again.safetensors", ["--cache", tmp_path / "faces"]
    assert run("train", csv, "--output", again, *cache, "--workers", "1", *QUICK).exit_code == 0
    photos = [csv.parent / "images" / name for name in pd.read_csv(csv)["path"].str[7:]]
    np.testing.assert_array_equal(load_model(again).predict(photos), loaded.predict(photos))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x"], "Name one data set"),
        (["DATA", "--output", "x", "--start", "bundled", "--epochs", "2"], "do not go with it"),
        (["DATA", "--output", "x", "--start", "bundled", "--fresh"], "do not go with it"),
        (["DATA", "--output", "x", "--format", "cvs"], "format='cvs'"),
        (["DATA", "--output", "x", "--protocol", "other"], "there is persemon"),
        (["DATA", "--output", "x", "--ablation", "no-ram"], "belong to --protocol"),
        (["DATA", "--output", "x", "--emotion", "DATA"], "Name one data set"),
        (["/nowhere", "--output", "x"], "of none of the formats"),
        (["DATA", "--output", "x", "--format", "afew-va"], "Expected in"),
        (["DATA", "--output", "x", "--every", "2"], "omi has no option every"),
        (["DATA", "--output", "x", "--option", "unit_range=maybe"], "neither yes nor no"),
        (["DATA", "--output", "x", "--option", "unit_range"], "write NAME=VALUE"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(omi, arguments, message):
    result = run("train", *(omi if a == "DATA" else a for a in arguments))
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("backbone", ["faceapi_expression", "mean_colour"])
def test_faces_are_aligned_to_the_template_of_the_backbone(csv, tmp_path, mean_colour, backbone):
    model = tmp_path / "model.safetensors"
    result = run("train", csv, "--output", model, *QUICK, "--backbone", backbone)
    assert result.exit_code == 0, result.output
    loaded = load_model(model)
    assert loaded[0].template == get_backbone_spec(backbone).template
    assert loaded[-1].backbone == backbone
    assert np.isfinite(loaded.predict([min((csv.parent / "images").iterdir())])).all()


@pytest.fixture
def mean_colour(monkeypatch):
    """A backbone of another package, registered for one test."""

    class MeanColour(Backbone):
        n_features, input_size, template = 3, (112, 96), "sphereface"

        def forward(self, frames):
            return frames.float().mean((1, 2))

    register_backbone(BackboneSpec("mean_colour", MeanColour, template="sphereface"))
    yield
    _registry._specs.pop("mean_colour")


def test_help_lists_what_is_registered(mean_colour):
    text = "".join(run("train", "--help").output.replace("│", " ").split())
    for name, spec in FORMATS.items():
        assert f"{name}:{spec.layout.replace(' ', '')}." in text
        for option in spec.options:
            assert f"--option{option.name}=...:{option.help.replace(' ', '')}" in text
    for name in BACKBONES:
        assert name in text
    assert "mean_colour" in text


def test_a_module_that_registers_is_imported_first(csv, tmp_path, monkeypatch):
    (tmp_path / "smiles_format.py").write_text(SMILES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    model = tmp_path / "model.safetensors"
    images = csv.parent / "images"
    pd.DataFrame({"file": sorted(map(str, images.iterdir())), "smile": range(8)}).to_csv(
        tmp_path / "smiles.csv", index=False
    )
    try:
        result = run("--import", "smiles_format", "train", tmp_path, "--output", model, *QUICK)
        assert result.exit_code == 0, result.output
        assert "smiles: 8 of 8 samples" in result.output
        assert load_model(model)[-1].target_names_ == ["smile"]
    finally:
        _FORMATS.pop("smiles", None)
        sys.modules.pop("smiles_format", None)
    missing = run("--import", "nowhere_at_all", "train", tmp_path, "--output", model)
    assert missing.exit_code == 2
    assert "nowhere_at_all cannot be" in missing.output


SMILES = """
from pathlib import Path
import pandas as pd
from persona_affect.datasets import DatasetFormat, make_bunch, register_format

def load_smiles(root, *, check="open", verbose=False):
    table = pd.read_csv(Path(root) / "smiles.csv")
    return make_bunch(
        name="smiles", sources=list(table["file"]), target=table[["smile"]], emotion=["smile"]
    )

register_format(
    DatasetFormat(
        name="smiles",
        load=load_smiles,
        layout="smiles.csv with the columns file and smile",
        recognise=lambda folder, folders, files: "smiles.csv" in files,
    )
)
"""


def test_outputs_are_checked_before_the_work(csv, tmp_path):
    before = csv.read_bytes()
    taken = tmp_path / "taken"
    taken.touch()
    protocol = ["--protocol", "persemon"]
    for arguments, message in (
        (["train", csv, "--output", csv], "is also an input"),
        (["train", csv.parent, "--output", csv], "which is an input"),
        (["train", csv, "--output", taken, "--weights", taken], "is also an input"),
        (["train", csv, "--output", tmp_path], "is a folder"),
        (["train", csv, "--output", tmp_path / "no" / "m.safetensors"], "does not exist"),
        (["train", csv, "--output", tmp_path / "m", "--cache", taken], "taken is a file"),
        (["train", csv.parent, "--output", csv.parent, *protocol], "which is an input"),
        (["train", csv, "--output", taken, *protocol], "taken is a file"),
        (["evaluate", "bundled", csv, "--output", csv], "is also an input"),
        (["evaluate", "bundled", csv.parent, "--output", csv], "which is an input"),
        (["evaluate", taken, csv, "--output", taken], "must end in .csv"),
        (["evaluate", "bundled", csv, "--output", taken, *protocol], "taken is a file"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert message in result.output
    assert csv.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_help_is_complete():
    result = run("train", "--help")
    assert result.exit_code == 0
    for option in ("--format", "--personality", "--protocol", "--ablation", "--cache", "--device"):
        assert option in result.output
