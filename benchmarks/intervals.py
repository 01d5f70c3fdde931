"""Coverage and width of prediction intervals, and what the reliability of a face says about them.

    PERSONA_AFFECT_DATA=folder python benchmarks/intervals.py [--cache FOLDER]
                                                  [synthetic portraits disturbed streams jpeg]

- ``synthetic``: rendered faces, half-labelled, two photos a person; five seeds, 5 and 20 folds.
- ``portraits``: the 804 portraits of ``folder/omi`` in five folds by the recipe of the bundled
  model, calibrated inside the training folds; also by thirds of what the faces look like.
- ``disturbed``: portraits of one fold, with blur, few pixels and other disturbances: errors,
  coverage, also of intervals that are widened by the reliability, and what the reliability finds.
  The same for real photographs of ``folder/people/london``, which are rated on another scale: a
  line from the model's *attractive* to the ratings is fitted on half of the 102, in 60 random
  halves, and the others are predicted.
- ``streams``: distance and reliability with YuNet and one view, beside those with MTCNN and two.
- ``jpeg``: blockiness, and how often it is remarked on, of portraits, photographs and frames of
  the clips in ``folder/grid``, as they are and compressed.

With ``--cache``, embeddings are kept in a folder. Results: ``benchmarks/results/intervals.md``.
"""

import argparse
import itertools
import os
import warnings
from copy import copy
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from mapie.metrics.regression import regression_coverage_score, regression_mean_width_score
from omi_cross_validation import (
    CLEAN,
    EMOTION,
    N_MAPS,
    PERSONALITY,
    Recipe,
    embed_views,
    hash_of,
    load_portraits,
    make_aligner,
    make_embedders,
    split,
    weigh,
)
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit

from persona_affect import ConformalAffect, JointAffectEstimator, load_model
from persona_affect.annotation import rate_reliability
from persona_affect.datasets import make_affect_faces
from persona_affect.engines import compile
from persona_affect.exceptions import NoFaceWarning
from persona_affect.faces import FaceQuality, measure_quality
from persona_affect.media import iter_frames, open_photo

LEVELS = (0.8, 0.9, 0.95)
N_MEASURES = len(fields(FaceQuality))


def coverage(y, bounds):
    """Share of ratings inside, over all targets; labels and intervals may be missing."""
    rated = ~np.isnan(y) & ~np.isnan(bounds).any(axis=-1)
    return float(regression_coverage_score(y[rated], bounds[rated][:, :, None])[0])


def width(bounds):
    return float(regression_mean_width_score(bounds.reshape(-1, 2)[:, :, None])[0])


class Constant(DummyRegressor):
    """Predicts the mean of the labels that are there."""

    def fit(self, X, y):
        """Take the mean of each target."""
        self.mean_ = np.nanmean(np.asarray(y, float), axis=0)
        return self

    def predict(self, X):
        """Return it for each sample."""
        return np.tile(self.mean_, (len(X), 1))

    def __sklearn_is_fitted__(self):
        return hasattr(self, "mean_")


def synthetic():
    """Thumbnails of rendered faces, and the joint network on them."""
    rows = []
    for seed in range(5):
        faces = make_affect_faces(300, 2, aligned=True, random_state=seed)
        X = faces.data[:, 4:108:8, 4:92:8].reshape(len(faces.data), -1) / 255
        y, person = faces.target, np.asarray(faces.groups)
        test = hash_of(person) % 2 == 1
        model = JointAffectEstimator(max_epochs=5, learning_rate=1e-4, random_state=0)
        # Another bit: hashes of equally long texts differ by one number for each salt.
        held_out = ~test & (hash_of(person) // 2 % 2 == 1)
        train = ~test & ~held_out
        found = {"plus": ConformalAffect(model, random_state=0)}
        found["plus"].fit(X[~test], y[~test], person[~test])
        found["plus, 20 folds"] = ConformalAffect(model, cv=20, random_state=0)
        found["plus, 20 folds"].fit(X[~test], y[~test], person[~test])
        # The same errors, around the model that was trained on all training persons.
        found["base"] = copy(found["plus"])
        found["base"].members_ = []
        found["split"] = ConformalAffect(clone(model).fit(X[train], y[train]), random_state=0)
        found["split"].conformalize(X[held_out], y[held_out], person[held_out])
        found["constant"] = ConformalAffect(Constant(), random_state=0)
        found["constant"].fit(X[~test], y[~test], person[~test])
        values = y.to_numpy()[test]
        for (method, conformal), level in itertools.product(found.items(), LEVELS):
            bounds = conformal.predict_interval(X[test], 1 - level)
            row = {"coverage": coverage(values, bounds), "width": width(bounds)}
            rows.append({"method": method, "level": level, "seed": seed, **row})
        for method in ("plus", "plus, 20 folds"):
            own = np.nanmean(np.abs(found[method].predict(X[test]) - values), axis=0)
            ratio = (np.nanmean(found[method].scores_, axis=0) / own).mean()
            print(f"{method}: error out of fold by that of the model {ratio:.3f}")
        print(f"seed {seed}", flush=True)
    table = pd.DataFrame(rows)
    print(table.pivot_table("coverage", "seed", ["method", "level"]).round(3).to_string(), "\n")
    print(table.groupby(["method", "level"]).mean().drop(columns="seed").round(3), "\n")


def cached(cache, name, compute):
    if cache is None:
        return compute()
    path = Path(cache, f"{name}.npy")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, compute())
    return np.load(path)


def rotate_exactly(X):
    """Rotate (n, d) into (n, n): all distances and products stay, and fits take a fraction."""
    X = X.astype(np.float64)
    squares, u = np.linalg.eigh(X @ X.T)
    # Axes at random, so that no axis matters more than another.
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=u.shape))[0]
    return (u * np.sqrt(np.maximum(squares, 0)) @ turn).astype(np.float32)


def rotate_recipe(views, ratings):
    """Make the recipe on rotated embeddings: it predicts the same, up to rounding."""
    sizes = np.cumsum([len(X) for X in views.values()])
    whole = np.concatenate(list(views.values()))
    parts = [rotate_exactly(whole[:, part]) for part in split(N_MAPS)]
    rotated = dict(zip(views, np.split(np.hstack(parts), sizes[:-1]), strict=True))
    return Recipe(rotated, weigh(ratings), parts[0].shape[1])


def portraits(cache):
    photos, ratings = load_portraits()
    rated = ratings[PERSONALITY + EMOTION]
    fold = hash_of(ratings.index) % 5
    # Samples of the recipe are numbers of portraits.
    X = np.arange(len(ratings))[:, None]
    model, bounds = rotate_recipe(embed_views(photos, cache=cache), ratings), {}
    predicted = np.full(rated.shape, np.nan)
    for k in range(5):
        train, test = fold != k, fold == k
        split = PredefinedSplit(fold[train])
        conformal = ConformalAffect(model, cv=split, random_state=0).fit(X[train], rated[train])
        alone = ConformalAffect(Constant(), cv=split, method="base").fit(X[train], rated[train])
        predicted[test] = conformal.predict(X[test])
        far = conformal.describe_faces(X[test])[1]
        for level in LEVELS:
            found = {
                "plus": conformal.predict_interval(X[test], 1 - level),
                "constant": alone.predict_interval(X[test], 1 - level),
            }
            # The same errors, around the model that was trained on all training folds.
            conformal.members_, members = [], conformal.members_
            found["base"] = conformal.predict_interval(X[test], 1 - level)
            # Errors by distance, as difficulty="distance" divides them.
            known = conformal.familiarity_
            scores, own = (
                conformal.scores_,
                known.ratio(conformal.estimator_.transform(X[train]), np.arange(train.sum())),
            )
            conformal.scores_ = scores / own[:, None]
            unit = conformal.predict_interval(X[test], 1 - level)
            middle = unit.mean(axis=-1, keepdims=True)
            found["distance"] = middle + (unit - middle) * far[:, None, None]
            conformal.scores_, conformal.members_ = scores, members
            for name, one in found.items():
                bounds.setdefault((name, level), np.full((*rated.shape, 2), np.nan))[test] = one
        print(f"fold {k} of 5", flush=True)
    y = rated.to_numpy()
    rows = [
        {
            "method": name,
            "level": level,
            "coverage": coverage(y, found),
            **{
                f"{target}": coverage(y[:, j], found[:, j])
                for j, target in enumerate(rated.columns)
            },
            "width": width(found),
        }
        for (name, level), found in bounds.items()
    ]
    print(pd.DataFrame(rows).sort_values(["method", "level"]).round(3).to_string(index=False), "\n")
    by_fold = [
        {
            "level": level,
            **{k: coverage(y[fold == k], bounds["plus", level][fold == k]) for k in range(5)},
        }
        for level in LEVELS
    ]
    print(pd.DataFrame(by_fold).round(3).to_string(index=False), "\n")
    rows = []
    for name in ("gender", "age", "skin-color"):
        thirds = pd.qcut(ratings[name], 3, labels=["lowest", "middle", "highest"])
        for third in thirds.cat.categories:
            inside = (thirds == third).to_numpy()
            found = {level: coverage(y[inside], bounds["base", level][inside]) for level in LEVELS}
            rows.append({"third": f"{name}, {third}", "faces": inside.sum(), **found})
    print(pd.DataFrame(rows).round(3).to_string(index=False), "\n")


def blur(strength):
    # Of pictures of 256 pixels; in others the same part of the face.
    return lambda image: cv2.GaussianBlur(image, (0, 0), strength * image.shape[1] / 256)


def shrink(width):
    # Faces are about 0.55 and 0.33 of the width of a portrait and of a photograph.
    def run(image):
        share = 0.55 if image.shape[1] == 256 else 0.33
        side = round(width / share)
        return cv2.resize(image, (side, side * image.shape[0] // image.shape[1]), None, 0, 0, 3)

    return run


def rotate(degrees):
    def run(image):
        h, w = image.shape[:2]
        matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1)
        return cv2.warpAffine(image, matrix, (w, h), borderMode=cv2.BORDER_REPLICATE)

    return run


def compress(quality):
    def run(image):
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(code, cv2.IMREAD_COLOR)

    return run


VIEWS = {
    "clean": lambda image: image,
    **{f"blur {s}": blur(s) for s in (1, 2, 3, 5, 8)},
    **{f"{w} pixels": shrink(w) for w in (64, 32, 20, 14)},
    **{f"turned {a} degrees": rotate(a) for a in (20, 45)},
    "JPEG quality 10": compress(10),
}


def align_and_measure(images, aligner):
    """Aligned faces, and measures of the largest face, of each image; NaN without a face."""
    clips = np.empty(len(images), object)
    measures = np.full((len(images), N_MEASURES), np.nan)
    for i, (image, faces) in enumerate(zip(images, aligner.detect_frames(images), strict=True)):
        clips[i] = np.empty((0, 150, 150, 3), np.uint8)
        if len(faces):
            best = np.array([aligner.select_face(faces, image)])
            clips[i] = aligner.align_faces(image, faces[best].landmarks)
            quality = measure_quality(image, faces[best])
            measures[i] = [getattr(quality, field.name)[0] for field in fields(quality)]
    return clips, measures


def examine(photos, change):
    """Embeddings, and measures of the largest face, of changed photos; NaN without a face."""
    images = [change(open_photo(photo)) for photo in photos]
    clips, measures = align_and_measure(images, make_aligner())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoFaceWarning)
        parts = [part.fit_transform(clips) for part in make_embedders()]
    return np.hstack([*parts, measures]).astype(np.float32)


def calibrated_model(views, ratings, train, fold):
    """Train the bundled model's recipe on some portraits, calibrated out-of-fold among them."""
    rated, quick = ratings[PERSONALITY + EMOTION], rotate_recipe(views, ratings)
    predicted = np.empty((len(train), rated.shape[1]))
    for k in np.unique(fold[train]):
        inside = fold[train] == k
        quick.fit(train[~inside], rated.iloc[train[~inside]])
        predicted[inside] = quick.predict(train[inside])
    whole = Recipe(views, weigh(ratings)).fit(train, rated.iloc[train]).model_
    conformal = ConformalAffect(whole, random_state=0)
    return conformal.conformalize(views[CLEAN][train], rated.iloc[train], predicted=predicted)


def view_of(conformal, found):
    """Predictions, intervals by level, measures and reliability of the faces of one view."""
    seen = np.isfinite(found).all(axis=1)
    Z, measures = found[seen, :-N_MEASURES], found[seen, -N_MEASURES:].astype(float)
    values, _, distance = conformal.predict_parts(Z)
    bounds = {level: conformal.predict_interval(Z, 1 - level) for level in LEVELS}
    score, _ = rate_reliability(FaceQuality(*measures.T), distance)
    names = [field.name for field in fields(FaceQuality)]
    measured = pd.DataFrame(measures, columns=names).assign(distance=distance, reliability=score)
    return seen, values, bounds, measured


def auc(failed, table):
    """AUC with which low reliability, or one of its causes, finds what failed.

    The highest that is possible for a score that only knows how a photo was disturbed is that of
    the share of failures of its view.
    """
    causes = {
        "reliability": -table["reliability"],
        "the view itself": failed.groupby(table["view"]).transform("mean"),
        "sharpness": -table["sharpness"],
        "width": -table["width"],
        "yaw": table["yaw"].abs(),
        "confidence": -table["confidence"],
        "blockiness": table["blockiness"],
        "distance": table["distance"],
    }
    return {name: roc_auc_score(failed, values) for name, values in causes.items()}


def report(rows, pooled, failed):
    print(pd.DataFrame(rows).round(2).to_string(index=False), "\n")
    pooled = pd.concat(pooled, ignore_index=True)
    found = {"failed": auc(pooled[failed], pooled)}
    for step in (0.25, 0.5):
        # Of predictions that the disturbance moved, on average over the targets.
        found[f"moved {step} sd"] = auc(pooled["moved"] > step, pooled)
    print(pd.DataFrame(found).round(3).to_string(), "\n")
    for view in VIEWS:
        if view != "clean":
            both = pooled[pooled["view"].isin(["clean", view])]
            one = roc_auc_score(both["view"] == view, -both["reliability"])
            print(f"AUC of {view} against clean {one:.2f}")
    bins = pd.cut(pooled["reliability"], [-0.01, 0.25, 0.5, 0.8, 0.999, 1])
    table = pooled.groupby(bins, observed=True)[["inside", "wide"]].agg(["mean", "size"])
    print(table.round(3).to_string(), "\n")


def disturbed(cache):
    photos, ratings = load_portraits()
    rated, fold = ratings[PERSONALITY + EMOTION], hash_of(ratings.index) % 5
    train, test = np.flatnonzero(fold != 0), np.flatnonzero(fold == 0)[:100]
    conformal = calibrated_model(embed_views(photos, cache=cache), ratings, train, fold)
    y, constant = rated.to_numpy()[test], rated.iloc[train].mean().to_numpy()
    rows, pooled, clean, first = [], [], None, None
    for name, change in VIEWS.items():
        found = cached(
            cache, f"omi {name}", lambda change=change: examine([photos[i] for i in test], change)
        )
        seen, values, bounds, measured = view_of(conformal, found)
        error = ((values - y[seen]) ** 2).mean()
        clean = error if clean is None else clean
        plain = ((constant - y[seen]) ** 2).mean()
        first = values if first is None else first
        moved = (np.abs(values - first[seen]) / y.std(axis=0)).mean(axis=1)
        wide = {level: conformal.widen(bounds[level], measured["reliability"]) for level in LEVELS}
        outside = (y[seen] < bounds[0.9][..., 0]) | (y[seen] > bounds[0.9][..., 1])
        rows.append(
            {
                "view": name,
                "found": seen.mean(),
                "r": pd.DataFrame(values).corrwith(pd.DataFrame(y[seen])).mean(),
                "error": np.abs(values - y[seen]).mean(),
                "advantage left": 1 - (error - clean) / (plain - clean),
                **{f"{level:.0%}": coverage(y[seen], bounds[level]) for level in LEVELS},
                **{f"wide {level:.0%}": coverage(y[seen], wide[level]) for level in LEVELS},
                "width": width(bounds[0.9]),
                "wide": width(wide[0.9]),
                "reliability": measured["reliability"].median(),
            }
        )
        inside = (y[seen] >= wide[0.9][..., 0]) & (y[seen] <= wide[0.9][..., 1])
        pooled.append(
            measured.assign(
                view=name,
                moved=moved,
                inside=1 - outside.mean(1),
                wide=inside.mean(1),
                failed=outside.sum(1) >= 3,
            )
        )
    print("portraits; failed: 3 or more of 7 ratings outside of their 90 % intervals\n")
    report(rows, pooled, "failed")
    london(cache, conformal, rated.columns.get_loc("attractive"))


def london(cache, conformal, target):
    """Fit a line from the model to ratings on another scale; then as with the portraits.

    The line is fitted on a random half, again and again: one half alone has a standard error of
    0.04 in a coverage of 0.9.
    """
    photos, score = (np.array(part, object) for part in zip(*load_london(), strict=True))
    score = score.astype(float)
    views = {}
    for name, change in VIEWS.items():
        found = cached(cache, f"london all {name}", lambda change=change: examine(photos, change))
        seen, *rest = view_of(conformal, found)
        views[name] = np.flatnonzero(seen), *rest
    clean = views["clean"][1]
    std, rng = conformal.estimator_[-1].target_stds_, np.random.default_rng(0)
    rows, pooled = [], []
    for _ in range(60):
        fit = rng.permutation(len(photos))[: len(photos) // 2]
        line = ConformalAffect(LinearRegression(), cv=len(fit))
        line.fit(clean[fit][:, [target]], score[fit])
        for name, (who, values, bounds, measured) in views.items():
            new = ~np.isin(who, fit)
            y, value = score[who[new]], values[new][:, [target]]
            measured = measured[new]
            row = {"view": name, "found": len(who) / len(photos)}
            row["error"] = np.abs(line.predict(value) - y).mean()
            for level in LEVELS:
                ends = line.predict(bounds[level][new][:, target].reshape(-1, 1))
                row[f"{level:.0%}"] = coverage(y[:, None], ends.reshape(-1, 1, 2))
                own = line.predict_interval(value, 1 - level)
                wide = line.widen(own, measured["reliability"])
                row[f"line {level:.0%}"] = coverage(y[:, None], own)
                row[f"wide {level:.0%}"] = coverage(y[:, None], wide)
                if level == 0.9:
                    failed = (y < own[:, 0, 0]) | (y > own[:, 0, 1])
                    held = (y >= wide[:, 0, 0]) & (y <= wide[:, 0, 1])
                    row["line width"], row["wide"] = width(own), width(wide)
            row["reliability"] = measured["reliability"].median()
            rows.append(row)
            moved = (np.abs(values[new] - clean[who[new]]) / std).mean(axis=1)
            pooled.append(
                measured.assign(view=name, moved=moved, inside=~failed, wide=held, failed=failed)
            )
    print(
        "london; percentages of the model's intervals, mapped by the line, of the line's own, and"
    )
    print("of these when they are widened by the reliability; means over 60 halves")
    table = pd.DataFrame(rows).groupby("view", sort=False).mean().reset_index()
    r = {
        name: np.corrcoef(values[:, target], score[who])[0, 1]
        for name, (who, values, *_) in views.items()
    }
    report(table.assign(r=table["view"].map(r)), pooled, "failed")


def streams():
    """Distance and reliability of 26 photographs as `predict` sees them, and as `serve` does."""
    model, live = load_model(intervals=True), load_model()
    live[0].set_params(detector="yunet")
    live = model.around(compile(live, engine="torch", precision="float32", mirror=False))
    models = {"mtcnn, two views": model, "yunet, one view": live}
    images = [open_photo(photo) for photo, _ in load_london()[::4]]
    rows = []
    for name in ("clean", "blur 3", "20 pixels", "JPEG quality 10"):
        changed = [VIEWS[name](image) for image in images]
        for kind, one in models.items():
            clips, measures = align_and_measure(changed, one.estimator_[0])
            seen = np.isfinite(measures).all(axis=1)
            _, distance = one.skip_steps(1).describe_faces(clips[seen])
            score, _ = rate_reliability(FaceQuality(*measures[seen].T), distance)
            row = {"view": name, "model": kind, "found": seen.mean()}
            for what, values in {"distance": distance, "reliability": score}.items():
                found = np.quantile(values, (0.1, 0.5, 0.9))
                row |= {
                    f"{what} {q}": v for q, v in zip(("10 %", "50 %", "90 %"), found, strict=True)
                }
            rows.append(row)
    print(pd.DataFrame(rows).round(2).to_string(index=False), "\n")


def jpeg():
    """Blockiness of pictures as they are and compressed, and the share that has the remark."""
    clips = sorted(Path(os.environ["PERSONA_AFFECT_DATA"], "grid").glob("*.mpg"))
    frames = [
        frame.image for clip in clips for frame in itertools.islice(iter_frames(clip), 5, None, 35)
    ]
    sets = {
        "portraits": [open_photo(photo) for photo in load_portraits()[0][::5]],
        "London": [open_photo(photo) for photo, _ in load_london()],
        "frames of clips": frames,
    }
    aligner, rows = make_aligner().set_params(detector="yunet"), []
    for (name, images), level in itertools.product(sets.items(), (None, 60, 30, 20, 10)):
        shown = images if level is None else [compress(level)(image) for image in images]
        _, measures = align_and_measure(shown, aligner)
        quality = FaceQuality(*measures[np.isfinite(measures).all(axis=1)].T)
        _, remarks = rate_reliability(quality)
        row = {"set": name, "quality": level or "as it is", "faces": len(remarks)}
        found = np.quantile(quality.blockiness, (0.05, 0.5, 0.95))
        row |= {f"{q} %": v for q, v in zip((5, 50, 95), found, strict=True)}
        rows.append(row | {"remark": np.mean(["compressed" in remark for remark in remarks])})
    print(pd.DataFrame(rows).round(2).to_string(index=False), "\n")


def load_london():
    folder = Path(os.environ["PERSONA_AFFECT_DATA"], "people")
    table = pd.read_csv(folder / "london.csv", dtype={"face_id": str})
    return [
        (folder / "london" / "neutral" / f"{face}.jpg", rating)
        for face, rating in zip(table["face_id"], table["attractive"], strict=True)
    ]


def main():
    parts = {
        "synthetic": synthetic,
        "portraits": portraits,
        "disturbed": disturbed,
        "streams": streams,
        "jpeg": jpeg,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--cache")
    arguments = parser.parse_args()
    for name in arguments.parts or parts:
        print(f"{name}\n")
        parts[name](*([arguments.cache] if name in ("portraits", "disturbed") else []))


if __name__ == "__main__":
    main()
