import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from persona_affect import JointAffectEstimator, RAMRegressor
from persona_affect.inspection import RelationDisplay
from persona_affect.inspection._relation_models import MonotoneRegressor


def make_relation(n=150):
    """`bold` rises with arousal, `odd` is highest in the middle; a third emotion moves both."""
    rng = np.random.default_rng(0)
    emotion = pd.DataFrame(rng.uniform(-1, 1, (n, 3)), columns=["arousal", "valence", "surprise"])
    traits = pd.DataFrame(
        {
            "bold": 2 * emotion["arousal"] + emotion["surprise"] + 0.2 * rng.normal(size=n),
            "odd": -4 * emotion["arousal"] ** 2 + 0.2 * rng.normal(size=n),
        }
    )
    traits.loc[:20, "bold"] = np.nan
    return emotion, traits


def test_surfaces_of_a_linear_model_are_its_partial_dependence():
    emotion, traits = make_relation()
    models = {"linear": LinearRegression()}
    display = RelationDisplay.from_data(emotion, traits, models=models, n_grid=5, plot=False)
    rated = traits["bold"].notna()
    model = LinearRegression().fit(emotion[rated].to_numpy(), traits.loc[rated, "bold"])
    a, v = np.meshgrid(*display.grid)
    surprise = np.full(a.size, emotion.loc[rated, "surprise"].mean())
    expected = model.predict(np.column_stack([a.ravel(), v.ravel(), surprise])).reshape(5, 5)
    assert display.surfaces["linear"]["bold"] == pytest.approx(expected)
    assert display.grid[0][[0, -1]] == pytest.approx(
        [emotion["arousal"].min(), emotion["arousal"].max()]
    )
    assert display.scores.set_index("trait")["n"].to_dict() == {"bold": 129, "odd": 150}


def test_scores_are_cross_validated_and_tell_the_shapes_apart():
    emotion, traits = make_relation()
    models = {
        "RAM": RAMRegressor(random_state=0),
        "linear": LinearRegression(),
        "monotone": MonotoneRegressor(max_iter=40, random_state=0),
    }
    display = RelationDisplay.from_data(emotion, traits, models=models, n_grid=6, cv=3)
    r = display.scores.set_index(["trait", "model"])["pearson"]
    assert r["bold", "linear"] > 0.95
    assert r["bold", "monotone"] > 0.9
    # Only the network can turn.
    assert r["odd", "RAM"] > 0.8
    assert r["odd", "linear"] < 0.5
    assert r["odd", "RAM"] > r["odd", "monotone"] + 0.2
    bold = display.surfaces["monotone"]["bold"]
    assert (np.diff(bold, axis=1) >= -1e-12).all()
    assert display.axes_.shape == (2, 3)
    assert display.axes_[0, 1].get_title() == f"bold, linear: r = {r['bold', 'linear']:.2f}"
    meshes = [ax.collections[0] for ax in display.axes_[1]]
    assert len({mesh.get_clim() for mesh in meshes}) == 1
    assert display.axes_[1, 0].get_xlabel() == "arousal"


def test_persons_are_in_one_fold():
    """A tree knows each person's other sample by heart: only folds by person show that."""
    rng = np.random.default_rng(0)
    emotion = pd.DataFrame(np.repeat(rng.normal(size=(60, 2)), 2, axis=0), columns=["a", "b"])
    traits = pd.DataFrame({"t": np.repeat(rng.normal(size=60), 2)})
    settings = {"models": {"tree": DecisionTreeRegressor(random_state=0)}, "n_grid": 3}
    known, new = (
        RelationDisplay.from_data(emotion, traits, groups=groups, plot=False, **settings)
        for groups in (None, np.repeat(np.arange(60), 2))
    )
    assert known.scores.loc[0, "pearson"] > 0.6
    assert new.scores.loc[0, "pearson"] < 0.4


def test_contours_contain_their_share_of_the_samples():
    rng = np.random.default_rng(0)
    emotion = pd.DataFrame(rng.normal(size=(400, 2)), columns=["a", "b"])
    display = RelationDisplay.from_data(
        emotion, emotion[["a"]], models={"linear": LinearRegression()}, plot=False, n_grid=50
    )
    heights, (outer, inner) = display._density()
    cell = np.diff(display.grid[0])[0] * np.diff(display.grid[1])[0]
    assert heights[heights >= inner].sum() * cell == pytest.approx(0.5, abs=0.07)
    assert heights[heights >= outer].sum() * cell == pytest.approx(0.95, abs=0.07)


def test_a_trait_without_spread_has_no_direction():
    X = np.random.default_rng(0).normal(size=(50, 2))
    X[:, 1] = 3
    assert MonotoneRegressor().fit(X, X[:, 0]).directions_ == [1, 0]
    flat = MonotoneRegressor().fit(X, np.full(50, 7.0))
    assert flat.directions_ == [0, 0]
    assert flat.predict(X) == pytest.approx(7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, t: ((e[:-1], t), {}), "149 rows of emotions, 150 of traits"),
        (lambda e, t: ((e, t), {"features": ("arousal", "joy")}), "no emotion 'joy'"),
        (lambda e, t: ((e[["arousal"]], t), {}), "needs two emotions"),
        (lambda e, t: ((e.assign(valence=np.nan), t), {}), "Sample 0 has an emotion"),
        (lambda e, t: ((e.assign(valence=1.0), t), {}), "'valence' is the same in all"),
        (lambda e, t: ((e, t.where(t.index.to_series() <= 22)), {}), "bold has 2 rated"),
    ],
)
def test_what_has_no_surface_is_named(change, message):
    arguments, settings = change(*make_relation())
    with pytest.raises(ValueError, match=message):
        RelationDisplay.from_data(*arguments, **settings)


@pytest.fixture(scope="module")
def joint():
    """A joint model of embeddings, whose RAM knows arousal and valence."""
    rng = np.random.default_rng(0)
    faces = rng.normal(size=(80, 6)).astype(np.float32)
    labels = pd.DataFrame({"arousal": faces[:, 0], "bold": 2 * faces[:, 0] + faces[:, 1]})
    labels["shy"], labels["valence"] = -labels["bold"], faces[:, 1]
    model = JointAffectEstimator(
        personality=["bold", "shy"],
        emotion=["arousal", "valence"],
        max_epochs=3,
        random_state=0,
    )
    return make_pipeline(StandardScaler(), model).fit(faces, labels), labels


def test_the_module_of_a_fitted_model_is_read_as_it_is(joint):
    model, labels = joint
    emotion = labels[["valence", "arousal"]].assign(other=1.0)
    display = RelationDisplay.from_estimator(
        model, emotion, labels[["shy"]].assign(unknown=0.0), cv=3, n_grid=4, plot=False
    )
    assert list(display.surfaces) == ["fitted RAM", "linear", "monotone"]
    assert list(display.surfaces["fitted RAM"]) == ["shy"]
    # The order is that of the model, not of the table.
    assert display.emotion_names == ["arousal", "valence"]
    a, v = np.meshgrid(*display.grid)
    predict = model[-1].predict_from_emotion
    expected = predict(np.column_stack([a.ravel(), v.ravel()]))[:, 1].reshape(4, 4)
    assert display.surfaces["fitted RAM"]["shy"] == pytest.approx(expected)
    predicted = predict(labels[["arousal", "valence"]])[:, 1]
    score = display.scores.set_index("model").loc["fitted RAM", "pearson"]
    assert score == pytest.approx(np.corrcoef(predicted, labels["shy"])[0, 1])
    assert display.plot().axes_.shape == (1, 3)


def test_a_regressor_is_a_module_too(joint):
    _, labels = joint
    emotion, traits = labels[["arousal", "valence"]], labels[["bold", "shy"]]
    ram = RAMRegressor(max_epochs=20, random_state=0).fit(emotion, traits)
    settings = {"models": {}, "n_grid": 3, "plot": False}
    display = RelationDisplay.from_estimator(ram, emotion, traits, **settings)
    a, v = np.meshgrid(*display.grid)
    points = pd.DataFrame({"arousal": a.ravel(), "valence": v.ravel()})
    for j, trait in enumerate(["bold", "shy"]):
        expected = ram.predict(points)[:, j].reshape(3, 3)
        assert display.surfaces["fitted RAM"][trait] == pytest.approx(expected)


def test_one_sample_gives_the_surface_of_all():
    """With two emotions every sample has the values of the point: one is enough."""
    emotion, traits = make_relation(40)
    emotion = emotion[["arousal", "valence"]]
    display = RelationDisplay.from_data(
        emotion,
        traits[["odd"]],
        models={"tree": DecisionTreeRegressor(random_state=0)},
        n_grid=4,
        plot=False,
    )
    tree = DecisionTreeRegressor(random_state=0).fit(emotion.to_numpy(), traits["odd"])
    values = dict(enumerate(display.grid))
    found = partial_dependence(
        tree, emotion.to_numpy(), [0, 1], custom_values=values, method="brute"
    )
    assert display.surfaces["tree"]["odd"] == pytest.approx(found["average"][0].T)


def test_what_has_no_module_is_named(joint):
    model, labels = joint
    emotion, traits = labels[["arousal", "valence"]], labels[["bold"]]
    with pytest.raises(ValueError, match="LinearRegression has no relationship module"):
        RelationDisplay.from_estimator(LinearRegression().fit(emotion, traits), emotion, traits)
    with pytest.raises(NotFittedError):
        RelationDisplay.from_estimator(RAMRegressor(), emotion, traits)
    alone = JointAffectEstimator(
        personality=["bold"], emotion=["arousal"], lambda_ram=0, max_epochs=1, random_state=0
    ).fit(labels[["valence"]].to_numpy(), labels[["bold", "arousal"]])
    with pytest.raises(ValueError, match="has no RAM"):
        RelationDisplay.from_estimator(alone, emotion, traits)
    with pytest.raises(ValueError, match="needs the emotions"):
        RelationDisplay.from_estimator(model, emotion[["arousal"]], traits)
    with pytest.raises(ValueError, match="The model predicts"):
        RelationDisplay.from_estimator(model, emotion, traits.rename(columns={"bold": "warm"}))
