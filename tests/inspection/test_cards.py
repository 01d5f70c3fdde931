import importlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from persona_affect import RAMRegressor, load_model, save_model
from persona_affect.exceptions import OutputError
from persona_affect.inspection import audit, model_card

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    rng = np.random.default_rng(0)
    emotion = rng.normal(size=(60, 2))
    traits = pd.DataFrame({"warm": emotion[:, 0], "odd|name": emotion[:, 1]})
    model = RAMRegressor(random_state=0, max_epochs=5).fit(emotion, traits)
    path = tmp_path_factory.mktemp("cards") / "mine.safetensors"
    save_model(model, path, notes={"data": "60 numbers <drawn>", "licence": "CC0"})
    return path


def test_a_card_says_what_the_file_says(saved):
    text = model_card(saved).markdown
    assert text.startswith("# Model card: mine.safetensors\n\n## What it is\n")
    assert r"2 numbers of a face: *warm* and *odd\|name*" in text
    assert "Its steps: `RAMRegressor`." in text
    assert "- data: 60 numbers \\<drawn\\>\n- licence: CC0" in text
    assert f"| numpy | {np.__version__} |" in text
    assert "Never use it for hiring" in text
    assert "Nothing was measured" in text
    assert "has no calibration" in text


def test_sections_are_added_in_order(saved):
    sections = {"Raters": "Two.", "Versions": "More.", "Before": "One."}
    text = model_card(saved, sections=sections, title="A card").markdown
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## What it is",
        "## What it is not for",
        "## Raters",
        "## Before",
        "## Measured",
        "## Intervals",
        "## Data and licence",
        "## Versions",
    ]
    assert text.startswith("# A card\n")
    assert text.endswith("\n\nMore.\n")


def test_the_figures_are_those_of_the_audit(saved, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    y = pd.DataFrame({"warm": X[:, 0] + rng.normal(size=80)})
    found = audit(
        Ridge().fit(X, X[:, 0]), X, y, sensitive={"half": np.arange(80) % 2}, disturbances=[]
    )
    card = model_card(saved, audit=found, audited_on="On noise.")
    bias = found.table("bias", "half", intervals=True).loc["1", "warm"]
    assert "On noise." in card.markdown
    assert f"| 1 | 40 | {bias} |" in card.markdown
    card.save(tmp_path / "card.md")
    card.save(tmp_path / "card.html")
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == card.markdown
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert f"<td>{bias}</td>" in page
    assert "<script" not in page
    with pytest.raises(OutputError, match=r"must end in \.md or \.html"):
        card.save(tmp_path / "card.pdf")


@pytest.fixture
def benchmark(monkeypatch):
    if "PERSONA_AFFECT_DATA" not in os.environ:
        pytest.skip("needs PERSONA_AFFECT_DATA, the folder with omi/")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("model_card")


def test_the_card_of_the_bundled_model_is_what_the_code_gives(benchmark):
    """After a change, run benchmarks/model_card.py."""
    card, _ = benchmark.measure()
    assert benchmark.CARD.read_text(encoding="utf-8") == card.markdown


def test_its_errors_are_those_of_the_calibration_in_the_file(benchmark):
    """The figures of the card and the intervals of `predict` are from the same predictions."""
    _, ratings, folds, _ = benchmark.load()
    calibrated = load_model(intervals=True)
    targets = calibrated.target_names_
    errors = (ratings[targets] - folds[targets]).abs().to_numpy()
    np.testing.assert_allclose(calibrated.scores_, errors, atol=0.00051)


def test_it_predicts_real_people_as_its_card_says(benchmark):
    recorded = pd.read_csv(benchmark.LONDON, dtype={"face_id": str})
    found = benchmark.predict_people(1)
    recorded = found[["face_id", "photograph"]].merge(recorded)
    pd.testing.assert_frame_equal(found, recorded, atol=0.05, rtol=0)


@pytest.mark.slow
def test_the_bundled_model_moves_as_its_card_says(benchmark):
    photos, ratings, folds, _ = benchmark.load()
    found = benchmark.measure_stability(photos, ratings, folds, ["mirror"])
    recorded = pd.read_csv(benchmark.STABILITY)
    recorded = recorded[recorded["disturbance"] == "mirror"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.reset_index(drop=True), recorded, atol=0.002, rtol=0)
