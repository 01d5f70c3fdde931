"""The protocol on miniatures, its table checked against numbers computed here."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch
from typer.testing import CliRunner

from persona_affect import FaceAligner
from persona_affect.app.cli import app
from persona_affect.datasets import combine, load_afew_va, load_first_impressions, write_miniature
from persona_affect.protocols import (
    ABLATIONS,
    PUBLISHED,
    assign_parts,
    run_persemon,
    to_markdown,
    write_results,
)

TRAITS = ["extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness"]
EMOTIONS = ["arousal", "valence"]
QUICK = {"backbone": "sphereface4", "max_epochs": 1, "batch_size": 16, "n_segments": 2}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    write_miniature("first-impressions", root / "fi", n_clips=15, n_frames=3)
    write_miniature("afew-va", root / "va", n_clips=12, n_frames=3)
    return root


@pytest.fixture(scope="module")
def both(roots):
    return combine(load_first_impressions(roots / "fi"), load_afew_va(roots / "va"))


@pytest.fixture(scope="module")
def aligner(tmp_path_factory):
    return FaceAligner(n_frames=3, cache=tmp_path_factory.mktemp("faces"))


def data_of(split, groups, source="own"):
    return Bunch(split=np.array(split), groups=np.array(groups), source=np.full(len(split), source))


def test_official_parts_stay(both):
    parts = assign_parts(both)
    official = both.source == "first-impressions"
    assert (parts[official] == both.split[official]).all()


def test_groups_stay_together_and_parts_do_not_depend_on_what_is_missing():
    groups = np.repeat([f"clip{i}" for i in range(300)], 2)
    parts = assign_parts(data_of([""] * 600, groups))
    table = pd.Series(parts).groupby(groups).nunique()
    assert (table == 1).all()
    shares = pd.Series(parts).value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.07)
    assert shares["val"] == pytest.approx(0.1, abs=0.07)
    kept = np.random.default_rng(0).uniform(size=600) < 0.5
    again = assign_parts(data_of([""] * kept.sum(), groups[kept]))
    assert (again == parts[kept]).all()


def test_the_official_validation_part_is_the_test_part_if_there_is_no_other():
    groups = np.array([f"video{i}" for i in range(200)])
    split = np.repeat(["train", "val"], [150, 50])
    parts = assign_parts(data_of(split, groups))
    assert (parts[split == "val"] == "test").all()
    assert set(parts[split == "train"]) == {"train", "val"}


def test_sets_that_cannot_be_split_are_named():
    with pytest.raises(ValueError, match="No sample of own is for"):
        assign_parts(data_of([""], ["alone"]))
    with pytest.raises(ValueError, match="for some of its samples"):
        assign_parts(data_of(["train", ""], ["a", "b"]))


def test_parameters_are_checked(both, roots):
    with pytest.raises(ValueError, match="ablation='all'"):
        run_persemon(both, ablation="all")
    with pytest.raises(ValueError, match="changes nothing"):
        run_persemon(both, ablation="no-pretraining")
    with pytest.raises(ValueError, match="a personality set and an emotion set"):
        run_persemon(combine(load_afew_va(roots / "va")))


@pytest.mark.slow
@pytest.mark.parametrize("ablation", ["no-coherence", "no-ram", "single-task"])
def test_ablations_leave_out_what_they_say(both, aligner, ablation, tmp_path):
    result = run_persemon(
        both, preset="demo", ablation=ablation, params=QUICK, aligner=aligner, n_resamples=20
    )
    modules = {name: model[-1].net_.module_ for name, model in result.models.items()}
    if ablation == "single-task":
        assert list(modules) == ["personality", "emotion"]
        assert modules["personality"].eam is modules["emotion"].pam is None
    else:
        assert list(modules) == ["joint"]
        assert (modules["joint"].domain is None) == (ablation == "no-coherence")
        assert (modules["joint"].ram is None) == (ablation == "no-ram")
    assert result.table.notna().all().all()
    assert result.facts["ablation"] == ablation
    write_results(result, tmp_path)
    assert f"ablation: {ablation}" in (tmp_path / "results.md").read_text()


@pytest.mark.slow
def test_pretraining_is_used_and_can_be_left_out(both, aligner, tmp_path):
    import torch

    from persona_affect.networks import make_backbone

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        torch.save(make_backbone("sphereface4").state_dict(), tmp_path / "weights.pt")
    params = {**QUICK, "weights": str(tmp_path / "weights.pt"), "learning_rate": 1e-12}
    options = {"preset": "demo", "params": params, "aligner": aligner, "n_resamples": 5}
    started = torch.load(tmp_path / "weights.pt", weights_only=True)["fc5.weight"]
    for ablation, used in (("none", True), ("no-pretraining", False)):
        result = run_persemon(both, ablation=ablation, **options)
        learnt = result.models["joint"][-1].net_.module_.fem.fc5.weight.detach().cpu()
        assert torch.allclose(learnt, started, atol=1e-6) == used


def by_hand(y, p):
    """The four measures, in numpy alone."""
    seen = ~np.isnan(y)
    y, p = y[seen], p[seen]
    covariance = ((y - y.mean()) * (p - p.mean())).mean()
    return {
        "accuracy_mae": 1 - np.abs(y - p).mean(),
        "ccc": 2 * covariance / (y.var() + p.var() + (y.mean() - p.mean()) ** 2),
        "pearson": np.corrcoef(y, p)[0, 1],
        "rmse": np.sqrt(((y - p) ** 2).mean()),
    }


def published_labels(root):
    """Read the test labels of the miniatures without the package's loaders."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        content = {
            part: pickle.loads(
                (root / "fi" / f"annotation_{part}.pkl").read_bytes(), encoding="latin1"
            )
            for part in ("training", "test")
        }
    traits = {part: pd.DataFrame(ratings)[TRAITS] for part, ratings in content.items()}
    frames = {}
    for path in sorted((root / "va").glob("*/*.json")):
        for name, label in json.loads(path.read_text())["frames"].items():
            frames[path.parent.name, name] = [label[e] / 10 for e in EMOTIONS]
    return traits, pd.DataFrame(frames, index=EMOTIONS).T


def test_the_whole_protocol_from_the_command_line(roots, tmp_path):
    output = tmp_path / "results"
    sets = ["--personality", str(roots / "fi"), "--emotion", str(roots / "va")]
    shared = ["--protocol", "persemon", *sets, "--cache", str(tmp_path / "faces"), "--seed", "3"]
    own = "--preset demo --backbone sphereface4 --epochs 1 --batch-size 16 --segments 2"
    command = ["train", *shared, "--output", str(output), *own.split(), "--resamples", "100"]
    trained = CliRunner().invoke(app, command)
    assert trained.exit_code == 0, trained.output

    traits, emotions = published_labels(roots)
    predictions = pd.read_csv(output / "predictions.csv", dtype={"group": str})
    results = json.loads((output / "results.json").read_text())
    videos = predictions[predictions.source == "first-impressions"]
    videos = videos.set_index(videos["sample"].map(lambda path: Path(path).name))
    assert sorted(videos.index) == sorted(traits["test"].index)
    frames = predictions[predictions.source == "afew-va"]
    places = frames["sample"].map(lambda path: (Path(path).parent.name, Path(path).stem))
    truth = {
        **{t: traits["test"].loc[videos.index, t].to_numpy() for t in TRAITS},
        **{e: emotions.loc[places.tolist(), e].to_numpy() for e in EMOTIONS},
    }
    tested = set(frames["group"].str.removeprefix("afew-va:"))
    assert 0 < len(tested) < 12

    rows = {}
    for name in TRAITS + EMOTIONS:
        table = videos if name in TRAITS else frames
        rows[name] = by_hand(truth[name], table[f"{name}_predicted"].to_numpy())
    rows["personality mean"] = pd.DataFrame([rows[name] for name in TRAITS]).mean()
    rows["emotion mean"] = pd.DataFrame([rows[name] for name in EMOTIONS]).mean()
    markdown = (output / "results.md").read_text()
    for row, measures in rows.items():
        written = results["table"][row]
        (line,) = (part for part in markdown.splitlines() if part.startswith(f"| {row} |"))
        for measure, value in dict(measures).items():
            assert written[measure] == pytest.approx(value, abs=1e-6)
            assert f" {value:.4f} (" in line
            assert written[f"{measure}_low"] <= written[f"{measure}_high"]
    # The constant is the mean of the training part, which no test label enters.
    for name in TRAITS:
        mean = traits["training"][name].mean()
        error = np.abs(truth[name] - mean).mean()
        assert results["table"][name]["baseline_accuracy_mae"] == pytest.approx(1 - error, abs=1e-6)
    for _, model, accuracy, _ in PUBLISHED.itertuples():
        assert f"| {model} | {accuracy:.4f} |" in markdown
    assert results["sets"]["first-impressions"]["train"] == 9
    assert results["polarity"]["neuroticism"] == -1

    # The saved model, scored again, gives the same table from the same faces.
    again = tmp_path / "again"
    command = ["evaluate", str(output), *shared, "--output", str(again), "--resamples", "100"]
    evaluated = CliRunner().invoke(app, command)
    assert evaluated.exit_code == 0, evaluated.output
    repeated = json.loads((again / "results.json").read_text())
    for row, values in results["table"].items():
        assert repeated["table"][row] == pytest.approx(values, abs=1e-6)
    # Calibrated on the validation part: least squares of its own labels.
    command = [*command[:-2], "--resamples", "5", "--calibrate"]
    calibrated = CliRunner().invoke(app, command)
    assert calibrated.exit_code == 0, calibrated.output
    lines = json.loads((again / "results.json").read_text())["calibration"]
    predictions = pd.read_csv(again / "predictions.csv")
    validation = predictions[(predictions.part == "val") & predictions.openness.notna()]
    mean = validation.openness.mean()
    assert validation.openness_predicted.mean() == pytest.approx(mean, abs=1e-6)
    assert set(lines) == set(TRAITS + EMOTIONS)


def test_markdown_of_other_sets_has_no_published_figures(both):
    facts = {"sets": {"omi": {"train": 1, "val": 1, "test": 1, "groups": {"test": 1}}}}
    facts["sets"]["omi"]["test_groups_met_in_training"] = 0
    columns = ["n_labels", "accuracy_mae", "ccc", "pearson", "rmse"]
    table = pd.DataFrame(0.5, ["happy"], [*columns, "baseline_accuracy_mae", "baseline_rmse"])
    text = to_markdown(Bunch(table=table, facts=facts, calibration=None))
    assert "published" not in text.lower()
    assert "| happy | 0 | 0.5000 |" in text


def test_ablations_are_those_of_the_command_line():
    assert set(ABLATIONS) == {"none", "no-coherence", "no-ram", "single-task", "no-pretraining"}
