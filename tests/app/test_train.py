import pandas as pd
import pytest
from typer.testing import CliRunner

from persona_affect import load_model
from persona_affect.app.cli import app
from persona_affect.datasets import write_miniature

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x"], "Name one data set"),
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
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_help_is_complete():
    result = run("train", "--help")
    assert result.exit_code == 0
    for option in ("--format", "--personality", "--protocol", "--ablation", "--cache", "--device"):
        assert option in result.output
