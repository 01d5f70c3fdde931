"""Evaluate person-specific dynamics: ranking, recognition, traits, tasks, speed.

    python benchmarks/dynamics.py --seeds 5 --out benchmarks/results/dynamics.md
    python benchmarks/dynamics.py --parts speed --seeds 1
    PERSONA_AFFECT_DATA=... python benchmarks/dynamics.py --parts grid --seeds 1

Each seed renders its own persons (`make_dynamic_clips`): unlabelled ones to train the generic
network, others with traits, some of whom look the same, some in three tasks. Clips have half the
size, to fit in memory. For every descriptor, traits are regressed by a ridge on standardised
features in five folds by person. Intervals are 95 %, Student's t over seeds. Seeds can run
separately (`--first-seed`): results are kept in `--cache`, and a last call tabulates them.
"""

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from persona_affect import (
    FaceAligner,
    FaceEmbedder,
    JointAffectEstimator,
    PersonDynamicsEncoder,
    TaskFusion,
    load_model,
    save_model,
    song2021_params,
)
from persona_affect.datasets import make_dynamic_clips
from persona_affect.datasets._dynamics import _draw_drive, _Look, _render_clip
from persona_affect.estimators._dynamics_samples import prepare_clip
from persona_affect.estimators._dynamics_windows import choose_centres
from persona_affect.metrics import ccc_score
from persona_affect.networks import PersonFilters, stack_context
from persona_affect.objectives import rank_loss, window_scores

TASKS = ("reading", "talking", "reacting")
LAGS = (-4, 0, 4)
SETS = {
    "gen": {"n_persons": 96},
    "down": {"n_persons": 200},
    "tasks": {"n_persons": 120, "n_clips_per_person": 1, "tasks": TASKS},
    "same": {"n_persons": 40, "same_look": True},
    "long": {"n_persons": 40, "same_look": True, "n_frames": 300},
}
HALF = (56, 48)
FRAMES = [6, 22, 37, 52, 68]


RIVALS = (
    "bag of generic features",
    "bag of pixels",
    "bag of embeddings",
    "frame-level joint network",
)


def render(name: str, seed: int, cache: Path) -> dict[str, NDArray]:
    """Render a set of persons, or take it from the cache."""
    path = cache / f"{name}{seed}.npz"
    if not path.exists():
        bunch = make_dynamic_clips(**SETS[name], random_state=100 * seed + list(SETS).index(name))
        np.savez(
            path,
            small=np.stack([_shrink(clip) for clip in bunch.data]),
            frames=np.stack([clip[FRAMES] for clip in bunch.data]),
            y=bunch.target.to_numpy(),
            g=bunch.groups,
            tasks=bunch.tasks,
        )
    with np.load(path) as stored:
        data = {key: stored[key] for key in ("small", "frames", "y", "g", "tasks")}
    if data["small"].dtype != np.uint8:
        data["small"] = np.rint(data["small"]).astype(np.uint8).transpose(0, 1, 3, 4, 2)
    return data


def _shrink(clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    frames = torch.from_numpy(clip).movedim(3, 1).float()
    small = functional.adaptive_avg_pool2d(frames, HALF).movedim(1, 3)
    return np.rint(small.numpy()).astype(np.uint8)


def ridge(*, standardise: bool) -> object:
    """Ridge regression; whitened descriptors share one unit, other features do not."""
    model = RidgeCV(np.logspace(-2, 6, 17), alpha_per_target=True)
    return make_pipeline(StandardScaler(), model) if standardise else model


def trait_ccc(descriptors: NDArray, y: NDArray, groups: NDArray, model: object) -> NDArray:
    """CCC of each trait, predicted in five folds by person."""
    predicted = cross_val_predict(model, descriptors, y, groups=groups, cv=GroupKFold(5))
    return ccc_score(y, predicted, multioutput="raw_values")


def person_auc(
    descriptors: NDArray, groups: NDArray, reference: NDArray, reference_groups: NDArray
) -> float:
    """How well cosines tell one person's pairs of clips, in a space learnt on other persons.

    As in speaker verification: linear discriminant analysis with the persons of `reference` for
    classes finds what differs between persons more than between clips of one, in units of the
    latter. It knows which clips are of one person, and no trait.
    """
    space = make_pipeline(
        PCA(128, random_state=0),
        LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.3, n_components=32),
    )
    z = space.fit(reference, reference_groups).transform(descriptors)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    i, j = np.triu_indices(len(z), 1)
    return float(roc_auc_score(groups[i] == groups[j], (z @ z.T)[i, j]))


def person_aucs(own: dict[str, NDArray], data: dict[str, dict[str, NDArray]]) -> dict[str, float]:
    """Persons of many looks, and of one, in spaces learnt on all other persons."""
    gen, down, same = (data[name]["g"] for name in ("gen", "down", "same"))
    known = np.vstack([own["gen"], own["down"]])
    persons = np.concatenate([gen, down + len(gen)])
    return {
        "AUC, persons of many looks": person_auc(own["down"], down, own["gen"], gen),
        "AUC, persons of one look": person_auc(own["same"], same, known, persons),
    }


def generic_bag(encoder: PersonDynamicsEncoder, clips: NDArray) -> NDArray:
    """Mean and deviation over time of the generic network's features, averaged over pixels.

    From all its passes: it sees as many frames as the descriptor.
    """
    net, rows = encoder.net_, []
    for clip in clips:
        frames = prepare_clip(clip, encoder.image_size)
        centres = choose_centres(len(frames), net.margin, None)
        seen: list[torch.Tensor] = []

        def keep(_: str, x: torch.Tensor, seen: list[torch.Tensor] = seen) -> torch.Tensor:
            seen.append(x.mean((2, 3)))
            return x

        with torch.no_grad():
            for spacing in net.scales_by_spacing:
                net(stack_context(frames, centres, net.context, spacing), keep)
        pooled = torch.cat(seen, 1)
        rows.append(torch.cat([pooled.mean(0), pooled.std(0)]).numpy())
    return np.array(rows)


def pixel_bag(clips: NDArray) -> NDArray:
    """Mean and deviation over time of every pixel."""
    small = np.stack([prepare_clip(clip, (28, 24)).numpy() for clip in clips])
    means = functional.adaptive_avg_pool2d(
        torch.from_numpy(clips.mean(1).transpose(0, 3, 1, 2)), (28, 24)
    )
    return np.hstack([means.flatten(1).numpy(), small.std(1).reshape(len(clips), -1)])


def embedding_bag(frames: NDArray) -> NDArray:
    """Mean and deviation over five frames of a pretrained recognition network's embeddings."""
    n, t = frames.shape[:2]
    faces = torch.from_numpy(frames).flatten(0, 1).movedim(3, 1).float()
    faces = functional.interpolate(faces, (150, 150), mode="bilinear", align_corners=False)
    photos = faces.movedim(1, 3).round().to(torch.uint8).numpy()
    embedded = FaceEmbedder(device="cpu", mirror=False).fit(photos).transform(photos)
    embedded = embedded.reshape(n, t, -1)
    return np.hstack([embedded.mean(1), embedded.std(1)])


def by_person(descriptors: NDArray, clips: int = 2) -> NDArray:
    return descriptors.reshape(-1, clips, descriptors.shape[1]).mean(1)


def measure_claims(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Ranking, recognition, traits and tasks of one seed."""
    encoder = fit_default(seed, options)
    data = {name: render(name, seed, options.cache) for name in ("gen", "down", "tasks", "same")}
    results: dict[str, float] = {}
    down, tasks = data["down"], data["tasks"]
    accuracy = encoder.ranking_accuracy(down["small"][:60])
    for scale, value in zip(encoder.scales[1:], accuracy.mean(0)[1:], strict=True):
        results[f"ranking, context 3, scale {scale}"] = value

    own = {name: encoder.transform(part["small"]) for name, part in data.items()}
    results |= person_aucs(own, data)

    half = own["down"].reshape(len(down["g"]), len(encoder.scales), -1)
    variants: dict[str, NDArray] = {"descriptor": own["down"]}
    for k, scale in enumerate(encoder.scales):
        variants[f"descriptor, scale {scale} alone"] = half[:, k]
    variants["bag of generic features"] = generic_bag(encoder, down["small"])
    variants["bag of pixels"] = pixel_bag(down["small"])
    for name, descriptors in variants.items():
        model = ridge(standardise=name.startswith("bag"))
        one = trait_ccc(descriptors, down["y"], down["g"], model)
        two = trait_ccc(by_person(descriptors), down["y"][::2], down["g"][::2], model)
        results[f"traits, one clip: {name}"] = one.mean()
        results[f"traits, two clips: {name}"] = two.mean()
        if name in ("descriptor", "bag of generic features"):
            for trait, value in zip(make_names(), two, strict=True):
                results[f"two clips, {trait}: {name}"] = value

    y = tasks["y"][:: len(TASKS)]
    persons, plain = np.arange(len(y)), ridge(standardise=False)
    by_task = own["tasks"].reshape(len(y), len(TASKS), -1)
    for j, task in enumerate(TASKS):
        results[f"tasks: {task} alone"] = trait_ccc(by_task[:, j], y, persons, plain).mean()
    for fusion in ("early", "late", "stacked"):
        model = TaskFusion(None, plain, fusion=fusion)
        results[f"tasks: {fusion} fusion"] = trait_ccc(by_task, y, persons, model).mean()
    return results


def measure_length(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Tell persons of one look from longer clips, all windows of them."""
    data = {name: render(name, seed, options.cache) for name in ("gen", "down", "long")}
    gen, down, long = data.values()
    encoder = fit_default(seed, options)
    known = np.vstack([encoder.transform(part["small"]) for part in (gen, down)])
    persons = np.concatenate([gen["g"], down["g"] + len(gen["g"])])
    encoder.set_params(batch_persons=1)
    return {
        f"AUC, persons of one look, {n} frames": person_auc(
            encoder.transform(long["small"][:, :n]), long["g"], known, persons
        )
        for n in (75, 150, 300)
    }


def measure_lags(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Compare filters that reach over time with the default, on the same persons."""
    data = {name: render(name, seed, options.cache) for name in ("gen", "down", "long")}
    gen, down, long = data.values()
    encoder = fit_default(seed, options).set_params(filter_lags=LAGS, batch_persons=1)
    known = [encoder.transform(part["small"]) for part in (gen, down)]
    persons = np.concatenate([gen["g"], down["g"] + len(gen["g"])])
    own = {n: encoder.transform(long["small"][:, :n]) for n in (75, 300)}
    halves = encoder.transform(_halves(grid_clips()))
    results = {}
    for name, lags in (("0", [0]), ("-4, 4", [-4, 4]), ("-4, 0, 4", list(LAGS))):
        at = [LAGS.index(lag) for lag in lags]

        def take(descriptors: NDArray, at: list[int] = at) -> NDArray:
            return descriptors.reshape(len(descriptors), len(LAGS), -1)[:, at].reshape(
                len(descriptors), -1
            )

        found = {
            f"AUC, persons of one look, {n} frames": person_auc(
                take(x), long["g"], np.vstack([take(part) for part in known]), persons
            )
            for n, x in own.items()
        }
        plain = ridge(standardise=False)
        found["traits, one clip"] = trait_ccc(take(known[1]), down["y"], down["g"], plain).mean()
        speakers = np.repeat(np.arange(len(halves) // 2), 2)
        found["AUC, GRID, halves"] = cosine_auc(take(halves), speakers, take(halves))
        results |= {f"lags {name}: {key}": value for key, value in found.items()}
    return results


def measure_order(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Compare halves of a clip, and two clips, with the same frames in random order.

    What stays is not the order of frames in time: the look, the recording, the amplitude.
    """
    encoder = fit_default(seed, options).set_params(filter_lags=LAGS)
    rng, results = np.random.default_rng(seed), {}
    many, one = (render(name, seed, options.cache)["small"][:40, :75] for name in ("down", "long"))
    sets = {
        "GRID, halves": _halves(grid_clips()),
        "many looks, two clips": list(many[:, :37]),
        "one look, two clips": list(one[:, :37]),
        "one look, halves": _halves(one[::2]),
    }
    for name, parts in sets.items():
        shuffled = [part[rng.permutation(len(part))] for part in parts]
        persons = np.repeat(np.arange(len(parts) // 2), 2)
        for order, own in (("in order", parts), ("shuffled", shuffled)):
            x = encoder.transform(own).reshape(len(own), len(LAGS), -1)
            for lags, part in (("0", x[:, LAGS.index(0)]), ("-4, 0, 4", x.reshape(len(x), -1))):
                found = cosine_auc(part, persons, part)
                results[f"AUC, {name}, {order}, lags {lags}"] = found
    return results


@cache
def grid_clips() -> list[NDArray[np.uint8]]:
    """Find the faces of the real clips."""
    folder = Path(os.environ["PERSONA_AFFECT_DATA"]) / "grid"
    return FaceAligner(n_frames=None).fit_transform(sorted(map(str, folder.glob("*.mpg"))))


def _halves(clips: Iterable[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    return [part for clip in clips for part in np.array_split(clip, 2)]


def measure_spacing(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Compare who sees neighbours with who sees frames as far apart as each scale reaches."""
    data = {name: render(name, seed, options.cache) for name in ("gen", "down", "same")}
    down, results = data["down"], {}
    for spacing in (1, "scale"):
        encoder = PersonDynamicsEncoder(
            spacing=spacing, max_epochs=options.epochs, random_state=seed, device=options.device
        ).fit(data["gen"]["small"])
        own = {name: encoder.transform(part["small"]) for name, part in data.items()}
        found = person_aucs(own, data)
        accuracy = encoder.ranking_accuracy(down["small"][:60]).mean(0)
        found |= {
            f"ranking, scale {scale}": value
            for scale, value in zip(encoder.scales[1:], accuracy[1:], strict=True)
        }
        plain = ridge(standardise=False)
        by_scale = own["down"].reshape(len(down["g"]), len(encoder.scales), -1)
        variants = {"descriptor": (own["down"], plain)}
        for k, scale in enumerate(encoder.scales):
            variants[f"scale {scale} alone"] = by_scale[:, k], plain
        bag = generic_bag(encoder, down["small"])
        variants["bag of generic features"] = bag, ridge(standardise=True)
        for name, (x, model) in variants.items():
            found[f"one clip, {name}"] = trait_ccc(x, down["y"], down["g"], model).mean()
        two = trait_ccc(by_person(own["down"]), down["y"][::2], down["g"][::2], plain)
        found["two clips, descriptor"] = two.mean()
        results |= {f"spacing {spacing}: {name}": value for name, value in found.items()}
    return results


def fit_default(seed: int, options: argparse.Namespace) -> PersonDynamicsEncoder:
    """Train an encoder with our defaults on the unlabelled persons, or take it from the cache."""
    path = options.cache / f"default{seed}_{options.epochs}.safetensors"
    if not path.exists():
        encoder = PersonDynamicsEncoder(
            max_epochs=options.epochs, random_state=seed, device=options.device
        )
        save_model(encoder.fit(render("gen", seed, options.cache)["small"]), path)
    return load_model(path).set_params(device=options.device)


def cosine_auc(descriptors: NDArray, groups: NDArray, reference: NDArray) -> float:
    """Tell pairs of clips of one person by plain cosine, standardised by other persons."""
    deviation = reference.std(0)
    z = (descriptors - reference.mean(0)) / np.maximum(deviation, 1e-12)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    i, j = np.triu_indices(len(z), 1)
    return float(roc_auc_score(groups[i] == groups[j], (z @ z.T)[i, j]))


def measure_recipes(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Compare our default, the paper's recipe, and the bundled network, on the same persons."""
    data = {name: render(name, seed, options.cache) for name in ("gen", "down", "same")}
    gen, down, same = data["gen"], data["down"], data["same"]
    few = slice(0, 120)
    results: dict[str, float] = {}
    for name in options.recipes.split(","):
        settings = {"max_epochs": options.epochs, "random_state": seed, "device": options.device}
        if name == "bundled" or name.endswith(".safetensors"):
            saved = "dynamics" if name == "bundled" else name
            encoder = load_model(saved).set_params(device=options.device)
        elif name == "song2021":
            # As many persons at once as a GPU can hold; it does not change the result.
            encoder = PersonDynamicsEncoder(**song2021_params(), **settings, batch_persons=64)
            encoder.fit(gen["small"])
        else:
            encoder = fit_default(seed, options)
        start = time.perf_counter()
        own = {
            "gen": encoder.transform(gen["small"][few]),
            "down": encoder.transform(down["small"][few]),
            "same": encoder.transform(same["small"]),
        }
        seconds = (time.perf_counter() - start) / (240 + len(same["g"]))
        accuracy = encoder.ranking_accuracy(down["small"][:40], exclude=()).mean(0)
        plain = ridge(standardise=False)
        model = ridge(standardise=True) if name == "song2021" else plain
        found = {
            "AUC, many looks, cosine": cosine_auc(own["down"], down["g"][few], own["gen"]),
            "AUC, one look, cosine": cosine_auc(own["same"], same["g"], own["gen"]),
            "AUC, one look, LDA": person_auc(
                own["same"],
                same["g"],
                np.vstack([own["gen"], own["down"]]),
                np.concatenate([gen["g"][few], down["g"][few] + 1000]),
            ),
            "traits, one clip": trait_ccc(
                own["down"], down["y"][few], down["g"][few], model
            ).mean(),
            "ranking, all frames, mean of scales": accuracy.mean(),
            "seconds a clip": seconds,
        }
        results |= {f"{Path(name).stem}: {key}": value for key, value in found.items()}
    return results


def measure_song(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Compare the paper's recipe with our default on a few persons of one look, as on a CPU."""
    gen = render("gen", seed, options.cache)["small"][:64]
    same = render("same", seed, options.cache)
    clips, groups = same["small"][:24], same["g"][:24]
    settings = {"max_epochs": 8, "random_state": seed, "device": options.device}
    few = {"n_windows": 6, "batch_persons": 24}
    default = PersonDynamicsEncoder(**settings).fit(gen)
    song = PersonDynamicsEncoder(**song2021_params(), **settings).fit(gen)
    results = {}
    for name, encoder, changed in (
        ("default", default, {}),
        ("default, 6 windows a clip", default, few),
        (f"song2021, {song.n_steps} steps, 6 windows a clip", song, few),
        ("song2021, one step, 6 windows a clip", song, {**few, "n_steps": 1}),
    ):
        encoder.set_params(**changed)
        start = time.process_time()
        rows = encoder.transform(clips)
        results[f"{name}: seconds a clip"] = (time.process_time() - start) / len(clips)
        results[f"{name}: AUC, one look, cosine"] = cosine_auc(rows, groups, rows)
        print(name, results, flush=True)
    return results


def measure_regions(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Find where persons differ who move one half of the face more than all others do."""
    rng = np.random.RandomState(50 + seed)
    look = _Look.draw(rng)

    def clip(upper: float, lower: float, tempo: float = 0.0) -> NDArray[np.uint8]:
        style = np.append(tempo, rng.uniform(-0.3, 0.3, 4))
        task = pd.Series({"upper": upper, "lower": lower})
        return _render_clip(look, _draw_drive(style, 75, rng), task, 96, rng)

    encoder = load_model("dynamics").set_params(n_windows=24, device=options.device)
    others = [clip(0.5, 0.5) for _ in range(10)]
    # Rows of the eyes with the brows, and of the mouth with the chin, in the template.
    rows = {"upper": slice(5, 16), "lower": slice(19, 28)}
    shares: dict[str, list[float]] = {}
    scales: dict[str, NDArray] = {}
    for name, moves in {
        "upper": {"upper": 1.0, "lower": 0.5},
        "lower": {"upper": 0.5, "lower": 1.0},
        "quick": {"upper": 0.5, "lower": 0.5, "tempo": 1.5},
        "slow": {"upper": 0.5, "lower": 0.5, "tempo": -1.5},
    }.items():
        maps = np.stack([encoder.map_difference(clip(**moves), others) for _ in range(6)])
        up, low = (maps[:, :, part].sum((1, 2, 3)) for part in rows.values())
        shares[name] = list(up / (up + low))
        by_scale = maps.sum((2, 3))
        scales[name] = (by_scale / by_scale.sum(1, keepdims=True)).mean(0)
    results = {f"regions: share of the upper face, {k}": np.mean(v) for k, v in shares.items()}
    truth = [1] * 6 + [0] * 6
    results["regions: AUC, upper from lower"] = roc_auc_score(
        truth, shares["upper"] + shares["lower"]
    )
    for name, values in scales.items():
        for scale, value in zip(encoder.scales, values, strict=True):
            results[f"regions: share of scale {scale}, {name}"] = value
    return results


def measure_ranking(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Rank frames from frames further apart, trained as long as the encoder does by default."""
    gen, down = (render(name, seed, options.cache)["small"] for name in ("gen", "down"))
    encoder = PersonDynamicsEncoder(random_state=seed, device=options.device, whiten=False)
    accuracy = encoder.fit(gen).ranking_accuracy(down[:60]).mean(0)
    results = {
        f"ranking, spacing scale, {encoder.max_epochs} epochs, scale {scale}": value
        for scale, value in zip(encoder.scales[1:], accuracy[1:], strict=True)
    }
    return results | {"ranking, spacing scale, epochs trained": encoder.n_iter_}


def make_names() -> list[str]:
    return ["tempo", "lead", "pauses", "asymmetry", "amplitude"]


def measure_context(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Ranking accuracy of a still, and of a network that sees the whole window."""
    gen, down = render("gen", seed, options.cache), render("down", seed, options.cache)
    results = {}
    still = PersonDynamicsEncoder(
        context=1, max_epochs=options.epochs, random_state=seed, device=options.device
    ).fit(gen["small"])
    for k, scale in enumerate(still.scales):
        value = still.ranking_accuracy(down["small"][:60])[:, k].mean()
        results[f"ranking, context 1, scale {scale}"] = value
    own = still.transform(down["small"])
    ccc = trait_ccc(own, down["y"], down["g"], ridge(standardise=False))
    results["traits, one clip: descriptor, context 1"] = ccc.mean()
    for scale in (2, 4, 8):
        whole = PersonDynamicsEncoder(
            scales=(scale,), context=2 * scale + 1, max_epochs=options.epochs, random_state=seed
        ).set_params(device=options.device, early_stopping=False)
        whole.fit(gen["small"])
        value = whole.ranking_accuracy(down["small"][:60], exclude=(-1, 0, 1)).mean()
        results[f"ranking, whole window, scale {scale}"] = value
    return results


def measure_speed(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Adapt 32 persons at once, and one at a time by the plain loop over windows and scales."""
    clips = render("down", seed, options.cache)["small"][:64:2]
    gen = render("gen", seed, options.cache)["small"]
    results: dict[str, float] = {}
    for spacing in (1, "scale"):
        encoder = PersonDynamicsEncoder(
            spacing=spacing, max_epochs=1, random_state=seed, device="cpu", whiten=False
        ).fit(gen[:16])
        results |= {f"spacing {spacing}: {k}": v for k, v in _speed(encoder, clips).items()}
    return results


def _speed(encoder: PersonDynamicsEncoder, clips: NDArray) -> dict[str, float]:
    encoder.transform(clips[:2])
    results: dict[str, float] = {}
    start = time.perf_counter()
    encoder.transform(clips)
    by_default = f"32 in one call, {encoder.batch_persons} at once"
    results[f"seconds a person, {by_default}"] = (time.perf_counter() - start) / 32
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    together = encoder.set_params(batch_persons=32).transform(clips)
    results["seconds a person, 32 at once"] = (time.perf_counter() - start) / 32
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The process's peak: of the second encoder only what it takes beyond the first.
    results["MiB more at the peak, 32 at once"] = (after - before) / 1024
    start = time.perf_counter()
    alone = np.vstack([encoder.transform(clips[i : i + 1]) for i in range(8)])
    results["seconds a person, each alone"] = (time.perf_counter() - start) / 8
    start = time.perf_counter()
    plain = np.vstack([naive_descriptor(encoder, clip) for clip in clips[:4]])
    results["seconds a person, plain loop"] = (time.perf_counter() - start) / 4
    for how in ("32 at once", by_default):
        ratio = results["seconds a person, plain loop"] / results[f"seconds a person, {how}"]
        results[f"plain loop / {how}"] = ratio
    scale = np.abs(plain).max()
    results["largest difference, at once and alone"] = np.abs(together[:8] - alone).max() / scale
    results["largest difference, at once and plain"] = np.abs(together[:4] - plain).max() / scale
    return results


def naive_descriptor(encoder: PersonDynamicsEncoder, clip: NDArray[np.uint8]) -> NDArray:
    """Adapt one person as one would write it down: a scale and a window at a time, autograd."""
    net, levels = encoder.net_, list(encoder.filter_levels)
    frames = prepare_clip(clip, encoder.image_size)
    centres = choose_centres(len(frames), net.margin, encoder.n_windows)
    rms = frames.square().mean().sqrt()
    means: dict[int, dict[str, torch.Tensor]] = {}
    for spacing in net.scales_by_spacing:
        means[spacing] = {}

        def add(level: str, x: torch.Tensor, own: dict = means[spacing]) -> torch.Tensor:
            own[level] = own.get(level, 0) + x / len(centres)
            return x

        with torch.no_grad():
            for t in centres:
                net(stack_context(frames, t[None], net.context, spacing), add)
    parts = []
    for k, (scale, spacing) in enumerate(zip(net.scales, net.spacings, strict=True)):
        filters = PersonFilters(net.level_widths, levels).weights

        def insert(
            level: str, x: torch.Tensor, filters: object = filters, own: dict = means[spacing]
        ) -> torch.Tensor:
            departures = (x - own[level]).flatten(2)
            return x + (filters[level] @ departures).view_as(x)

        for t in centres:
            maps = net(stack_context(frames, t[None], net.context, spacing), insert)[None, :, k]
            scores = window_scores(maps, frames[None], t[None, None], scale, rms)
            (rank_loss(scores, encoder.filter_margin).sum() / len(centres)).backward()
        parts += [-filters[level].grad.flatten() for level in levels]
    return torch.cat(parts).numpy()[None]


def measure_grid(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Ranking accuracy on each real clip, trained on the five other speakers."""
    folder = Path(os.environ["PERSONA_AFFECT_DATA"]) / "grid"
    paths = sorted(map(str, folder.glob("*.mpg")))
    clips = FaceAligner(n_frames=None).fit_transform(paths)
    rows = []
    for i in range(len(clips)):
        others = [clip for j, clip in enumerate(clips) if j != i]
        encoder = PersonDynamicsEncoder(
            max_epochs=options.grid_epochs,
            batch_size=5,
            windows_per_clip=16,
            early_stopping=False,
            whiten=False,
            random_state=seed,
            device=options.device,
        ).fit(others)
        rows.append(encoder.ranking_accuracy(clips[i : i + 1])[0])
    mean = np.mean(rows, axis=0)
    lowest = np.min(rows, axis=0)
    results = {}
    for k, scale in list(enumerate(encoder.scales))[1:]:
        results[f"GRID, spacing scale, scale {scale}"] = mean[k]
        results[f"GRID, spacing scale, scale {scale}, lowest clip"] = lowest[k]
    return results


def measure_frames(seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Traits from frames: the joint network, three persons in four for training, and embeddings."""
    down = render("down", seed, options.cache)
    clips = down["frames"]
    train, test = next(GroupKFold(4).split(clips, groups=down["g"]))
    joint = JointAffectEstimator(max_epochs=options.joint_epochs, random_state=seed, device="cpu")
    predicted = joint.fit(clips[train], down["y"][train]).predict(clips[test])
    results = {
        "traits, one clip: frame-level joint network": float(ccc_score(down["y"][test], predicted))
    }
    if options.embeddings:
        bag = embedding_bag(down["frames"])
        ccc = trait_ccc(bag, down["y"], down["g"], ridge(standardise=True))
        results["traits, one clip: bag of embeddings"] = ccc.mean()
    return results


PARTS: dict[str, Callable[[int, argparse.Namespace], dict[str, float]]] = {
    "claims": measure_claims,
    "context": measure_context,
    "ranking": measure_ranking,
    "recipes": measure_recipes,
    "regions": measure_regions,
    "song": measure_song,
    "lags": measure_lags,
    "order": measure_order,
    "length": measure_length,
    "spacing": measure_spacing,
    "frames": measure_frames,
    "speed": measure_speed,
    "grid": measure_grid,
}


def summarise(values: pd.Series) -> pd.Series:
    """Mean and 95 % interval over seeds."""
    n, mean = len(values), values.mean()
    half = stats.t.ppf(0.975, n - 1) * values.std() / np.sqrt(n) if n > 1 else np.nan
    return pd.Series({"mean": mean, "low": mean - half, "high": mean + half, "seeds": n})


def tabulate(options: argparse.Namespace) -> str:
    """Table of all results in the cache, with the paired differences that the paper claims."""
    rows: dict[int, dict[str, float]] = {}
    for path in sorted(options.cache.glob("result_*.json")):
        _, part, seed = path.stem.split("_")
        if part in options.parts:
            rows.setdefault(int(seed), {}).update(json.loads(path.read_text()))
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index()
    difference = partial(_difference, table)
    for clips in ("one clip", "two clips"):
        own = f"traits, {clips}: descriptor"
        for name in RIVALS:
            difference(
                f"difference, {clips}: descriptor - {name}", own, [f"traits, {clips}: {name}"]
            )
        singles = [c for c in table if c.startswith(f"traits, {clips}: descriptor, scale")]
        difference(f"difference, {clips}: all scales - best scale", own, singles)
    for spacing in (1, "scale"):
        own = f"spacing {spacing}: one clip, descriptor"
        singles = [c for c in table if c.startswith(f"spacing {spacing}: one clip, scale")]
        difference(f"difference, spacing {spacing}: all scales - best scale", own, singles)
        bag = [f"spacing {spacing}: one clip, bag of generic features"]
        difference(f"difference, spacing {spacing}: descriptor - bag", own, bag)
    neighbours = ["spacing 1: one clip, descriptor"]
    difference(
        "difference, one clip: spacing scale - 1",
        "spacing scale: one clip, descriptor",
        neighbours,
    )
    for kind in [c.removeprefix("lags 0: ") for c in table if c.startswith("lags 0: ")]:
        own = f"lags -4, 0, 4: {kind}"
        difference(f"difference, lags -4, 0, 4 - 0: {kind}", own, [f"lags 0: {kind}"])
    alone = [c for c in table if c.startswith("tasks:") and c.endswith("alone")]
    for fusion in ("early", "late", "stacked"):
        difference(f"difference: {fusion} - best task", f"tasks: {fusion} fusion", alone)
    summary = table.apply(lambda column: summarise(column.dropna())).T
    return (
        f"# Person-specific dynamics\n\nCCC is the mean over the five traits. Python "
        f"{platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} CPU cores.\n\n"
        f"```\n{summary.round(3).to_string()}\n```\n"
    )


def _difference(table: pd.DataFrame, name: str, first: str, others: list[str]) -> None:
    others = [c for c in others if c in table]
    if first in table and others:
        # The best of the others is chosen by its mean over seeds.
        table[name] = table[first] - table[table[others].mean().idxmax()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--parts", default="claims,context,frames,speed")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--grid-epochs", type=int, default=150)
    parser.add_argument("--recipes", default="default,song2021,bundled")
    parser.add_argument("--joint-epochs", type=int, default=6)
    parser.add_argument("--embeddings", action="store_true", help="needs the extra 'pretrained'")
    parser.add_argument("--device", default="cpu", help="of dynamics; speeds need the CPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("dynamics-cache"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    options.cache.mkdir(exist_ok=True)
    torch.set_num_threads(options.threads)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for part in options.parts:
            path = options.cache / f"result_{part}_{seed}.json"
            if not path.exists():
                results = PARTS[part](seed, options)
                path.write_text(json.dumps({k: float(v) for k, v in results.items()}, indent=1))
    text = tabulate(options)
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
