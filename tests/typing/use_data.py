"""Data sets, splits and scores, as users write them: mypy reads this file, and nothing runs it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

import persona_affect as pa
from persona_affect.datasets import (
    FORMATS,
    DatasetFormat,
    FormatOption,
    LeftOut,
    check_files,
    combine,
    get_format,
    load_afew_va,
    load_aff_wild,
    load_csv,
    load_dataset,
    load_first_impressions,
    load_omi,
    load_parquet,
    load_webdataset,
    make_affect_clips,
    make_affect_faces,
    make_bunch,
    make_dynamic_clips,
    parse_bool,
    parse_names,
    read_table,
    recognise_format,
    register_format,
    walk_data,
    write_miniature,
)
from persona_affect.metrics import (
    EMOTION_NAMES,
    PERSONALITY_NAMES,
    SCORERS,
    AffectScorer,
    accuracy_score_mae,
    affect_report,
    ccc_score,
    make_affect_scorer,
    pearson_score,
    r2_score,
    root_mean_squared_error,
)
from persona_affect.model_selection import (
    AffectGroupKFold,
    AffectGroupShuffleSplit,
    affect_train_test_split,
    label_kinds,
)


def load(root: Path) -> Bunch:
    data = combine(
        load_first_impressions(root, "train", media="videos"),
        load_aff_wild(root, "val", n_frames=5),
        load_afew_va(root, every=10),
    )
    others = [
        load_omi(root, unit_range=True),
        load_csv(root / "ratings.csv", personality=["warm"], emotion=[]),
        load_parquet(root, picture="image"),
        load_webdataset(root, check=None),
        load_dataset(root, "omi", unit_range=True),
        write_miniature("omi", root, n_clips=4),
    ]
    return combine(data, *others)


def render() -> list[Bunch]:
    return [
        make_affect_faces(20, 2, aligned=True, random_state=0),
        make_affect_clips(20, halves="emotion", n_frames=5),
        make_dynamic_clips(10, tasks=("free", "reading")),
    ]


def load_own(root: Path, names: str = "warm,cold") -> Bunch:
    left_out, paths = LeftOut("own"), list[str]()
    for folder, _, files in walk_data(root, left_out):
        assert_type(folder, Path)
        paths += [str(folder / name) for name in files]
    usable = check_files(paths, "open", left_out)
    assert_type(usable, NDArray[np.bool_])
    table = read_table(root / "ratings.csv")
    assert_type(table, pd.DataFrame)
    left_out.add(root, "it has no ratings")
    assert_type(left_out.table(), pd.DataFrame)
    return make_bunch(name="own", sources=paths, target=table, personality=parse_names(names))


def is_own(folder: Path, folders: Sequence[str], files: Sequence[str]) -> bool:
    return "ratings.csv" in files


def add_format(root: Path) -> None:
    option = FormatOption("flip", parse_bool, "Whether to reverse the scale.")
    spec = DatasetFormat("own", load_own, "ratings.csv", is_own, options=[option])
    assert_type(register_format(spec), DatasetFormat)
    assert_type(get_format("own"), DatasetFormat)
    assert_type(recognise_format(root).name, str)
    assert_type(list(FORMATS), list[str])


def split(X: list[str], y: pd.DataFrame, groups: list[str]) -> None:
    assert_type(label_kinds(y), NDArray[np.str_])
    folds = AffectGroupKFold(5, shuffle=True, random_state=0, personality=PERSONALITY_NAMES)
    pairs = folds.split(X, y, groups)
    assert_type(pairs, Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]])
    shuffled = AffectGroupShuffleSplit(3, test_size=0.2, emotion=EMOTION_NAMES)
    for train, test in shuffled.split(X, y, groups):
        assert_type(train, NDArray[np.intp])
        assert_type(test, NDArray[np.intp])
    X_train, _, _, y_test = affect_train_test_split(X, y, groups=groups, test_size=0.2)
    print(len(X_train), y_test.mean())


def score(y: pd.DataFrame, y_pred: NDArray[np.float64]) -> None:
    assert_type(ccc_score(y, y_pred), float)
    assert_type(ccc_score(y, y_pred, multioutput="raw_values"), NDArray[np.float64])
    assert_type(pa.metrics.pearson_score(y, y_pred, nan_predictions="omit"), float)
    for measure in (accuracy_score_mae, pearson_score, r2_score, root_mean_squared_error):
        assert_type(measure([0.1, 0.2], [0.3, 0.2]), float)
        assert_type(measure(y, y_pred, multioutput="raw_values"), NDArray[np.float64])
    report = affect_report(y, y_pred, groups={"personality": PERSONALITY_NAMES})
    assert_type(report, pd.DataFrame)
    scorer = make_affect_scorer("ccc", "personality")
    assert_type(scorer, AffectScorer)
    assert_type(SCORERS["ccc"], AffectScorer)
