"""What the bundled model is made by, on small numbers."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone


@pytest.fixture(scope="module")
def recipes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
        yield importlib.import_module("omi_cross_validation")


def test_the_shrinkage_inside_kernel_and_heads_predicts_what_the_steps_predict(
    recipes, monkeypatch
):
    rng = np.random.default_rng(0)
    n, n_maps, numbers = 80, 12, np.arange(80)
    clean = rng.normal(size=(n, 30)).astype(np.float32)
    views = {}
    for name in (*recipes.LEARNT, *recipes.SHRUNK, recipes.ALONE):
        step = 1 if name in recipes.LEARNT else recipes.EVERY
        light = rng.normal(size=(n, 2)) @ rng.normal(size=(2, 30))
        views[name] = (clean + (name != recipes.CLEAN) * light).astype(np.float32)[::step]
    names = recipes.PERSONALITY + recipes.EMOTION
    y = pd.DataFrame(clean[:, :7] + rng.normal(size=(n, 7)), columns=names)
    recipe = recipes.Recipe(views, rng.uniform(1, 2, n), n_maps).fit(numbers, y)

    found = {}
    monkeypatch.setattr(
        recipes.Recipe, "_fold_in", lambda self, calm, X, weight: found.update(calm=calm)
    )
    steps = clone(recipe).fit(numbers, y).model_
    parts = zip(found["calm"], recipes.split(n_maps), strict=True)
    shrunk = np.hstack([step.transform(clean[:, part]) for step, part in parts])
    np.testing.assert_allclose(recipe.predict(numbers), steps.predict(shrunk), atol=1e-4)
    assert np.abs(shrunk - clean).max() > 0.1
