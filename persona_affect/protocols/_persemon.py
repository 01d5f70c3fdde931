"""PersEmoN's experiment: joint training on a personality and an emotion set, scored on each."""

import hashlib
import time
from os import PathLike
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from persona_affect.estimators import JointAffectEstimator, persemon_params
from persona_affect.faces import FaceAligner
from persona_affect.persistence import TrainingRun, align_together, identify_training

from ._calibration import AffineCalibration
from ._evaluation import evaluate_predictions

#: What each ablation changes; "single-task" trains a model for each kind of label.
ABLATIONS: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "no-coherence": {"lambda_coh": 0.0},
    "no-ram": {"lambda_ram": 0.0},
    "single-task": {"lambda_coh": 0.0, "lambda_ram": 0.0},
    "no-pretraining": {"weights": None},
}
KINDS: Final = ("personality", "emotion")
PARTS: Final = ("train", "val", "test")
#: Shares of test and validation where a set has no official parts.
_TEST, _VAL = 0.2, 0.1


def assign_parts(data: Bunch) -> NDArray[np.str_]:
    """Assign each sample to a part of the experiment.

    Official parts are kept. If a set has official training and validation parts, but its authors
    do not publish the test labels (Aff-Wild2), the validation part is the test, and a tenth of the
    training groups becomes the validation part. In a set without official parts, a fifth of the
    groups is for the test and a tenth for validation. A hash of a group's name decides its part,
    so that the parts are always the same, also if files are missing.

    Parameters
    ----------
    data : Bunch
        As :func:`persona_affect.datasets.combine` returns it.

    Returns
    -------
    ndarray of str, shape (n_samples,)
        ``"train"``, ``"val"`` or ``"test"``.

    Raises
    ------
    ValueError
        If a set has no samples for a part, or official parts for some samples only.

    Examples
    --------
    >>> import pandas as pd
    >>> from persona_affect.datasets import combine, make_bunch
    >>> from persona_affect.protocols import assign_parts
    >>> def make(name, kind):
    ...     paths = [f"{name}{i}.jpg" for i in range(30)]
    ...     target = pd.DataFrame({name: [float(i) for i in range(30)]})
    ...     return make_bunch(name=name, sources=paths, target=target, **{kind: [name]})
    >>> both = combine(make("warm", "personality"), make("happy", "emotion"))
    >>> sorted(set(assign_parts(both).tolist()))
    ['test', 'train', 'val']
    """
    parts = np.array(data.split, dtype="<U5")
    share = np.array([_share(group) for group in data.groups])
    for source in dict.fromkeys(data.source):
        own = data.source == source
        given = set(parts[own])
        if given == {""}:
            parts[own] = np.select(
                [share[own] < _TEST, share[own] < _TEST + _VAL], ["test", "val"], "train"
            )
        elif given == {"train", "val"}:
            parts[own & (parts == "val")] = "test"
            parts[own & (parts == "train") & (share < _VAL)] = "val"
        elif "" in given:
            raise ValueError(f"{source} has official parts for some of its samples only.")
        for part in ("train", "test"):
            if not (parts[own] == part).any():
                raise ValueError(
                    f"No sample of {source} is for {part}: it has {own.sum()} samples of "
                    f"{len(set(data.groups[own]))} groups. Use more samples, or a set with a split."
                )
    return parts


def _share(group: str) -> float:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def run_persemon(
    data: Bunch,
    *,
    preset: str | None = "authors",
    ablation: str = "none",
    params: dict[str, Any] | None = None,
    aligner: FaceAligner | None = None,
    calibrate: bool = False,
    n_resamples: int = 1000,
    random_state: int = 0,
    folder: str | PathLike[str] | None = None,
    fresh: bool = False,
) -> Bunch:
    """Train PersEmoN on the training part of both sets, and score it on their test parts.

    Parameters
    ----------
    data : Bunch
        A personality and an emotion set, joined by :func:`persona_affect.datasets.combine`.
    preset : {"authors", "demo", "deeppersonality"} or None, default="authors"
        A preset of :func:`persona_affect.persemon_params`; None for this package's own defaults.
    ablation : {"none", "no-coherence", "no-ram", "single-task", "no-pretraining"}, default="none"
        What is left out. ``"single-task"`` trains one model on each set alone.
    params : dict or None, default=None
        Further parameters of :class:`persona_affect.JointAffectEstimator`, which override those of
        the preset.
    aligner : FaceAligner or None, default=None
        Finds and aligns the faces; give it a ``cache=`` for large sets. None for the defaults.
    calibrate : bool, default=False
        Whether to fit an :class:`AffineCalibration` on the validation part, and score the
        calibrated predictions.
    n_resamples : int, default=1000
        Draws of the bootstrap.
    random_state : int, default=0
        Seed of training and bootstrap.
    folder : path-like or None, default=None
        Folder for each model and the state of its training: after an interruption, the same call
        goes on from the last epoch, and does not train finished models again.
    fresh : bool, default=False
        Train again what `folder` has.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        models : dict of str to Pipeline
            ``"joint"``, or ``"personality"`` and ``"emotion"``: each takes photos and clips.
        table, predictions, calibration, facts
            As :func:`evaluate_persemon` returns them; ``facts`` also describes the training.

    Raises
    ------
    ValueError
        If a parameter is unknown, if a set is missing or too small, if
        ``ablation="no-pretraining"`` is chosen for a run without pretrained weights, or if `folder`
        has an unfinished training of other data or parameters.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from persona_affect import datasets
    >>> from persona_affect.protocols import run_persemon
    >>> root = mkdtemp()
    >>> written = datasets.write_miniature("first-impressions", f"{root}/fi", n_clips=6, n_frames=2)
    >>> written = datasets.write_miniature("afew-va", f"{root}/va", n_clips=6, n_frames=2)
    >>> data = datasets.combine(
    ...     datasets.load_first_impressions(f"{root}/fi"), datasets.load_afew_va(f"{root}/va")
    ... )
    >>> quick = {"backbone": "sphereface4", "max_epochs": 1}
    >>> result = run_persemon(data, preset="demo", params=quick, n_resamples=0, folder=root)
    >>> list(result.models), len(result.table), result.facts["ablation"]
    (['joint'], 9, 'none')
    """
    if ablation not in ABLATIONS:
        raise ValueError(f"ablation={ablation!r} is none of {tuple(ABLATIONS)}.")
    if not data.personality or not data.emotion:
        raise ValueError("The experiment takes a personality set and an emotion set.")
    settings = {**(persemon_params(cast(Any, preset)) if preset else {}), **(params or {})}
    if ablation == "no-pretraining" and settings.get("weights") is None:
        raise ValueError(
            "ablation='no-pretraining' changes nothing: without weights= no run is pretrained."
        )
    settings = {**settings, **ABLATIONS[ablation], "random_state": random_state}
    aligner = FaceAligner() if aligner is None else aligner
    parts = assign_parts(data)
    started = time.perf_counter()
    aligner = aligner.fit()
    clips = align_together(aligner, data.data, Path(folder or ".") / "faces")
    seconds = {"alignment": time.perf_counter() - started}
    started = time.perf_counter()
    models = {}
    for name, rows in _choose_rows(data, parts == "train", ablation).items():
        own = {kind: data[kind] if name in ("joint", kind) else [] for kind in KINDS}
        estimator = JointAffectEstimator(**settings, **own)
        names = [*own["personality"], *own["emotion"]]
        models[name] = _fit(estimator, names, aligner, data, clips, rows, name, folder, fresh)
    seconds["training"] = time.perf_counter() - started
    result = _evaluate(models, data, clips, parts, calibrate, n_resamples, random_state)
    own = {key: value for key, value in settings.items() if key not in ("callbacks", "verbose")}
    result.facts.update(
        preset=preset,
        ablation=ablation,
        parameters={key: str(v) if callable(v) else v for key, v in own.items()},
        seconds={**seconds, **result.facts["seconds"]},
        n_faces={part: int(sum(map(len, clips[parts == part]))) for part in PARTS},
    )
    return Bunch(models=models, **result)


def _choose_rows(
    data: Bunch, train: NDArray[np.bool_], ablation: str
) -> dict[str, NDArray[np.bool_]]:
    """Return the training samples of each model."""
    if ablation != "single-task":
        return {"joint": train}
    return {kind: train & data.target[data[kind]].notna().any(axis=1).to_numpy() for kind in KINDS}


def _fit(
    estimator: JointAffectEstimator,
    names: list[str],
    aligner: FaceAligner,
    data: Bunch,
    clips: NDArray[np.object_],
    rows: NDArray[np.bool_],
    name: str,
    folder: str | PathLike[str] | None,
    fresh: bool,
) -> Pipeline:
    """Train one model; with a folder, go on with its training, or return the finished one."""
    y = data.target.loc[rows, names]
    model = Pipeline([("aligner", aligner), ("estimator", estimator)])
    if folder is None:
        estimator.fit(clips[rows], y, groups=data.groups[rows])
        return model
    Path(folder).mkdir(parents=True, exist_ok=True)
    identity = identify_training(estimator, aligner, data.data[rows], y)
    with TrainingRun(Path(folder) / f"{name}.safetensors", identity, fresh) as run:
        finished = run.finished()
        if finished is not None:
            return finished
        estimator.set_params(checkpoint=run.checkpoint)
        estimator.fit(clips[rows], y, groups=data.groups[rows])
        estimator.set_params(checkpoint=None)
        run.save(model, {"labels": data.name})
    return model


def evaluate_persemon(
    models: dict[str, BaseEstimator],
    data: Bunch,
    *,
    calibrate: bool = False,
    n_resamples: int = 1000,
    random_state: int = 0,
) -> Bunch:
    """Score trained models on the test parts of both sets.

    Personality is scored over videos, by the mean prediction over frames; emotion over labelled
    samples, which are frames.

    Parameters
    ----------
    models : dict of str to Pipeline
        One that predicts all targets, or one for each kind; a :class:`FaceAligner`, then a
        :class:`JointAffectEstimator`.
    data : Bunch
        As for :func:`run_persemon`.
    calibrate, n_resamples, random_state
        As for :func:`run_persemon`.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        table : DataFrame
            As :func:`evaluate_predictions` gives it; the baseline is the training mean.
        predictions : DataFrame
            A row per sample of the validation part (if it was used) and the test part: ``sample,
            source, group, part``, then ``<target>`` and ``<target>_predicted``.
        calibration : DataFrame or None
            ``slope`` and ``intercept`` by target.
        facts : dict
            Values that JSON can hold: sizes of the parts, the number of test groups that are also
            in the training part, numbers of files left out, seconds, versions.

    Raises
    ------
    ValueError
        If no model predicts one of the targets.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from sklearn.pipeline import make_pipeline
    >>> from persona_affect import FaceAligner, JointAffectEstimator
    >>> from persona_affect.datasets import combine, load_afew_va, write_miniature
    >>> from persona_affect.protocols import evaluate_persemon
    >>> root = mkdtemp()
    >>> written = write_miniature("afew-va", root, n_clips=6, n_frames=2)
    >>> data = combine(load_afew_va(root))
    >>> model = make_pipeline(
    ...     FaceAligner(), JointAffectEstimator(backbone="sphereface4", max_epochs=1)
    ... ).fit(data.data, data.target)
    >>> result = evaluate_persemon({"joint": model}, data, n_resamples=0)
    >>> result.table.index.tolist()
    ['arousal', 'valence', 'emotion mean']
    """
    parts = assign_parts(data)
    aligner = next(iter(models.values()))[0]
    used = np.isin(parts, ["test", "val"] if calibrate else ["test"])
    clips = np.empty(len(parts), dtype=object)
    clips[used] = aligner.transform(data.data[used])
    return _evaluate(models, data, clips, parts, calibrate, n_resamples, random_state)


def _evaluate(
    models: dict[str, Any],
    data: Bunch,
    clips: NDArray[np.object_],
    parts: NDArray[np.str_],
    calibrate: bool,
    n_resamples: int,
    random_state: int,
) -> Bunch:
    names = [*data.personality, *data.emotion]
    shown = np.isin(parts, ["test", "val"] if calibrate else ["test"])
    started = time.perf_counter()
    predicted, baseline = _predict(models, clips[shown], names)
    seconds = time.perf_counter() - started
    test, val = parts[shown] == "test", parts[shown] == "val"
    target = data.target[shown].reset_index(drop=True)
    calibration = None
    if calibrate:
        if not target.loc[val].notna().any().all():
            raise ValueError("calibrate=True needs validation samples with every target.")
        lines = AffineCalibration().fit(target[val], predicted[val])
        predicted = lines.transform(predicted)
        calibration = pd.DataFrame({"slope": lines.slope_, "intercept": lines.intercept_})
    groups, source = data.groups[shown], data.source[shown]
    table = evaluate_predictions(
        target[test],
        predicted[test],
        groups=groups[test],
        baseline=baseline,
        personality=data.personality,
        emotion=data.emotion,
        n_resamples=n_resamples,
        random_state=random_state,
    )
    samples = [getattr(s, "paths", (s,))[0] for s in data.data[shown]]
    predictions = pd.DataFrame(
        {"sample": samples, "source": source, "group": groups, "part": parts[shown]}
    )
    for name in names:
        predictions[name] = target[name]
        predictions[f"{name}_predicted"] = predicted[name]
    return Bunch(
        table=table,
        predictions=predictions,
        calibration=calibration,
        facts={
            "sets": _describe(data, parts),
            "polarity": data.polarity,
            "baseline": baseline.to_dict(),
            "n_resamples": n_resamples,
            "random_state": random_state,
            "left_out": data.left_out["source"].value_counts().to_dict(),
            "seconds": {"prediction": seconds},
        },
    )


def _predict(
    models: dict[str, Any], clips: NDArray[np.object_], names: list[str]
) -> tuple[pd.DataFrame, "pd.Series[float]"]:
    """Predict each target with the model that has it, and return the training means."""
    columns: dict[str, Any] = {}
    means: dict[str, float] = {}
    for model in models.values():
        estimator = model[-1]
        values = np.reshape(estimator.predict(clips), (len(clips), -1))
        columns.update(zip(estimator.target_names_, values.T, strict=True))
        means.update(zip(estimator.target_names_, estimator.target_means_, strict=True))
    missing = [name for name in names if name not in columns]
    if missing:
        raise ValueError(f"The model does not predict {missing}; it predicts {list(columns)}.")
    return pd.DataFrame(columns)[names], pd.Series(means)[names]


def _describe(data: Bunch, parts: NDArray[np.str_]) -> dict[str, Any]:
    sets = {}
    for source in dict.fromkeys(data.source):
        own = data.source == source
        groups = {part: set(data.groups[own & (parts == part)]) for part in PARTS}
        sets[str(source)] = {
            **{part: int((own & (parts == part)).sum()) for part in PARTS},
            "groups": {part: len(found) for part, found in groups.items()},
            "test_groups_met_in_training": len(groups["test"] & groups["train"]),
        }
    return sets
