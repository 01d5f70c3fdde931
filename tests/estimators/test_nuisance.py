import numpy as np
import pytest

from persona_affect import NuisanceShrinkage, load_model, save_model


@pytest.fixture(name="views")
def make_views():
    """Forty faces in three lights; light moves two of twelve axes, of which faces use the second.

    Returns the embeddings, the faces, and the directions of the light.
    """
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    faces = rng.normal(size=(40, 12)) * [0.1, 2, *[1] * 10]
    light = np.zeros((120, 12))
    light[:, :2] = rng.normal(size=(120, 2)) * [4, 2]
    X = (faces.repeat(3, axis=0) + light) @ axes
    return X, np.repeat(np.arange(40), 3), axes[:2]


def spread_within(X, groups):
    means = np.array([X[groups == g].mean(0) for g in np.unique(groups)])
    return ((X - means[groups]) ** 2).sum(1).mean()


def test_it_finds_the_directions_of_the_light(views):
    X, groups, light = views
    model = NuisanceShrinkage(2, random_state=0).fit(X, groups=groups)
    found = model.directions_.astype(float)
    np.testing.assert_allclose(np.abs(found @ light.T), np.eye(2), atol=0.15)
    # Within: 16 and 4. Between the means of three views: a third of it, and faces: 0.01, 4.
    expected = 1 - 1 / np.sqrt(1 + 20 * np.array([16 / (16 / 3 + 0.01), 4 / (4 / 3 + 4)]))
    np.testing.assert_allclose(model.shrinkage_, expected, atol=0.06)


def test_views_come_together_and_faces_stay_apart(views):
    X, groups, light = views
    model = NuisanceShrinkage(2, random_state=0).fit(X, groups=groups)
    after = model.transform(X)
    assert spread_within(after, groups) < 0.1 * spread_within(X, groups)
    rest = np.eye(12) - light.T @ light
    np.testing.assert_allclose((after - X) @ rest, 0, atol=0.25)


def test_shrinkage_follows_the_formula(views):
    X, groups, _ = views
    model = NuisanceShrinkage(2, strength=3.0, random_state=0).fit(X, groups=groups)
    along = X @ model.directions_.astype(float).T
    means = along.reshape(40, 3, 2).mean(1)
    within = ((along - means[groups]) ** 2).sum(0) / 80
    kept = 1 / np.sqrt(1 + 3 * within / means.var(0))
    np.testing.assert_allclose(1 - model.shrinkage_, kept, rtol=1e-2)


def test_without_groups_or_strength_nothing_changes(views):
    X, groups, _ = views
    np.testing.assert_array_equal(NuisanceShrinkage().fit_transform(X), X)
    none = NuisanceShrinkage(strength=0, random_state=0).fit(X, groups=groups)
    np.testing.assert_array_equal(none.transform(X), X)


def test_names_of_groups_and_their_order_do_not_matter(views):
    X, groups, _ = views
    order = np.random.default_rng(1).permutation(len(X))
    names = np.array([f"person {g}" for g in groups])
    first = NuisanceShrinkage(2, random_state=0).fit(X, groups=groups)
    second = NuisanceShrinkage(2, random_state=0).fit(X[order], groups=names[order])
    np.testing.assert_allclose(first.transform(X), second.transform(X), atol=1e-2)


def test_views_without_a_face_are_left_out(views):
    X, groups, _ = views
    holes = X.copy()
    holes[[3, 40]] = np.nan
    model = NuisanceShrinkage(random_state=0).fit(holes, groups=groups)
    kept = ~np.isnan(holes).any(1)
    whole = NuisanceShrinkage(random_state=0).fit(X[kept], groups=groups[kept])
    np.testing.assert_allclose(model.transform(X), whole.transform(X))
    assert np.isnan(model.transform(holes)).all(1).nonzero()[0].tolist() == [3, 40]


def test_it_says_what_is_missing(views):
    X, groups, _ = views
    X[1:] = np.nan
    with pytest.raises(ValueError, match="needs 2 samples with a face or more, not 1"):
        NuisanceShrinkage().fit(X, groups=groups)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        NuisanceShrinkage().fit(views[0], groups=groups[:5])


def test_a_file_holds_it(views, tmp_path):
    X, groups, _ = views
    model = NuisanceShrinkage(2, random_state=0).fit(X.astype(np.float32), groups=groups)
    save_model(model, tmp_path / "shrink.safetensors")
    again = load_model(tmp_path / "shrink.safetensors")
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    assert again.transform(X.astype(np.float32)).dtype == np.float32
