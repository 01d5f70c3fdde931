"""What every registered backbone promises, and what registering one gives."""

import json
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from persona_affect import FaceAligner, FaceEmbedder, JointAffectEstimator, load_model, save_model
from persona_affect.exceptions import (
    InvalidImageError,
    MissingDependencyError,
    ModelFormatError,
    WeightsError,
)
from persona_affect.faces import TEMPLATES
from persona_affect.networks import (
    BACKBONES,
    Backbone,
    BackboneSpec,
    _registry,
    get_backbone_spec,
    make_backbone,
    register_backbone,
)
from persona_affect.persistence import _files

MINE = '''
from torch import nn

from persona_affect.networks import Backbone, BackboneSpec, register_backbone


class Stripes(Backbone):
    """Means of horizontal stripes, mixed by a layer that learns."""

    input_size, template = (112, 96), "sphereface"

    def __init__(self, stripes=4):
        super().__init__()
        self.stripes, self.n_features = stripes, 3 * stripes
        self.mix = nn.Linear(3 * stripes, 3 * stripes)

    def forward(self, frames):
        parts = (frames.float() / 255).unflatten(1, (self.stripes, -1)).mean((2, 3))
        return self.mix(parts.flatten(1))


def load(network, path):
    import torch

    network.load_state_dict(torch.load(path, weights_only=True))


register_backbone(
    BackboneSpec("stripes", Stripes, "sphereface", params=("stripes",), load_weights=load)
)
'''


@pytest.fixture
def stripes(tmp_path, monkeypatch):
    """A backbone that a module outside this package registers when it is imported."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "striped_faces.py").write_text(MINE)
    monkeypatch.syspath_prepend(folder)
    __import__("striped_faces")
    yield "stripes"
    sys.modules.pop("striped_faces")
    _registry._specs.pop("stripes", None)


#: They differ from the smaller ones in depth alone.
DEEP = ("sphereface36", "sphereface64")


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in DEEP else ())
        for name in sorted(BACKBONES)
    ]
)
def name(request, facenet_pytorch):
    """Each registered backbone whose packages are installed."""
    try:
        with torch.device("meta"):
            make_backbone(request.param)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture
def network(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make_backbone(name).eval()


def make_faces(name, n=4):
    template = get_template(name)
    height, width = template.height, template.width
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def get_template(name):
    return TEMPLATES[get_backbone_spec(name).template]


class TestContract:
    """Runs over every registered backbone: a new one is tested without a line here."""

    def test_it_takes_the_faces_of_its_template(self, name, network):
        assert isinstance(network, Backbone)
        assert network.template == get_backbone_spec(name).template
        template = get_template(name)
        assert network.input_size == (template.height, template.width)
        embedding = network(torch.from_numpy(make_faces(name)))
        assert embedding.shape == (4, network.n_features)
        assert embedding.isfinite().all()

    def test_pixels_may_be_bytes_or_floats(self, name, network):
        frames = torch.from_numpy(make_faces(name, 2))
        with torch.no_grad():
            embedding = network(frames)
            torch.testing.assert_close(network(frames.float()), embedding)
        assert embedding.dtype == torch.float32

    def test_every_weight_learns(self, name, network):
        network(torch.from_numpy(make_faces(name, 2))).square().sum().backward()
        weights = {k: w for k, w in network.named_parameters() if w.requires_grad}
        assert weights
        for key, weight in weights.items():
            assert weight.grad is not None, key
            assert weight.grad.isfinite().all(), key
        assert any(weight.grad.any() for weight in weights.values())

    def test_mirror_images_are_averaged(self, name):
        faces = make_faces(name, 2)
        embedder = FaceEmbedder(partial(make_backbone, name), weights=None, device="cpu").fit(faces)
        mirrored = faces[:, :, ::-1]
        found = embedder.transform(faces)
        tolerance = {"rtol": 1e-4, "atol": 1e-5 * np.abs(found).max()}
        np.testing.assert_allclose(embedder.transform(mirrored), found, **tolerance)
        embedder.set_params(mirror=False)
        first, second = embedder.transform(faces), embedder.transform(mirrored)
        np.testing.assert_allclose((first + second) / 2, found, **tolerance)
        assert not np.allclose(first, second, **tolerance)

    def test_a_model_of_it_is_saved_and_loaded(self, name, tmp_path):
        faces = make_faces(name)
        model = JointAffectEstimator(name, max_epochs=1, batch_size=4, random_state=0, device="cpu")
        model.fit(faces, np.linspace(0, 1, 8).reshape(4, 2))
        save_model(model, tmp_path / "model")
        loaded = load_model(tmp_path / "model")
        np.testing.assert_array_equal(loaded.predict(faces), model.predict(faces))

    def test_weights_that_are_not_numbers_are_refused(self, name, network, tmp_path, monkeypatch):
        spec = get_backbone_spec(name)

        def load(network, path=None):
            next(network.parameters()).data.fill_(torch.nan)

        spec = replace(spec, load_weights=load, load_installed=load)
        monkeypatch.setitem(_registry._specs, name, spec)
        for weights in ("pretrained", tmp_path / "weights"):
            with pytest.raises(WeightsError, match="NaN or infinity"):
                make_backbone(name, weights)

    def test_unknown_options_are_refused(self, name):
        faces, y = make_faces(name, 2), np.eye(2)
        with pytest.raises(ValueError, match="no option 'ears'"):
            make_backbone(name, ears=2)
        for model in (FaceEmbedder(name), JointAffectEstimator(name)):
            with pytest.raises(ValueError, match="no option 'ears'"):
                model.set_params(backbone__ears=2)
            model.set_params(backbone_params={"ears": 2})
            if name in ("resnet29", "faceapi_expression"):
                with pytest.raises(ValueError, match="no option 'ears'"):
                    model.fit(faces, y)

    def test_faces_of_another_size_are_refused(self, name, network):
        height, width = network.input_size
        frames = torch.zeros(1, height, width + 16, 3, dtype=torch.uint8)
        with pytest.raises(InvalidImageError, match=repr(network.template)):
            network(frames)
        model = JointAffectEstimator(name, max_epochs=1, device="cpu")
        with pytest.raises(InvalidImageError, match=f"Sample 0 .*{height}x{width}"):
            model.fit(frames.numpy(), np.zeros((1, 2)))

    def test_what_is_said_of_its_weights_is_true(self, name):
        spec = get_backbone_spec(name)
        assert bool(spec.installed_weights) == (spec.load_installed is not None)
        assert not spec.installed_weights or spec.license
        if spec.load_installed is None:
            with pytest.raises(ValueError, match="no installed weights"):
                make_backbone(name, "pretrained")


class TestRegistering:
    """A name that is registered works everywhere, with no edit elsewhere."""

    def test_it_trains_embeds_saves_and_loads(self, stripes, tmp_path):
        faces = make_faces(stripes)
        torch.save(make_backbone(stripes).state_dict(), tmp_path / "weights.pt")
        embedder = FaceEmbedder(stripes, weights=tmp_path / "weights.pt").fit(faces)
        assert embedder.transform(faces).shape == (4, 12)
        model = JointAffectEstimator(
            stripes, backbone_params={"stripes": 2}, max_epochs=1, random_state=0
        ).fit(faces, np.linspace(0, 1, 8).reshape(4, 2))
        for fitted, method in ((embedder, "transform"), (model, "predict")):
            save_model(fitted, tmp_path / "model")
            found = getattr(load_model(tmp_path / "model"), method)(faces)
            np.testing.assert_array_equal(found, getattr(fitted, method)(faces))
        assert FaceAligner(template=get_backbone_spec(stripes).template).fit()

    def test_a_saved_model_says_which_module_to_import(self, stripes, tmp_path):
        faces = make_faces(stripes)
        model = JointAffectEstimator(stripes, max_epochs=1, random_state=0)
        save_model(model.fit(faces, np.linspace(0, 1, 4)), tmp_path / "model")
        _registry._specs.pop(stripes)
        with pytest.raises(
            MissingDependencyError, match=r"'stripes'.*import striped_faces, then load"
        ):
            load_model(tmp_path / "model")

    def test_a_name_that_another_package_uses_is_refused(self):
        spec = BackboneSpec("resnet29", make_backbone, template="resnet29", package="elsewhere")
        with pytest.raises(ValueError, match=r"registered by persona_affect\.networks\._resnet29"):
            register_backbone(spec)

    def test_params_that_build_does_not_take_are_refused(self):
        with pytest.raises(ValueError, match=r"build takes no \['ears'\]"):
            BackboneSpec("mine", make_backbone("sphereface4").__class__, None, params=("ears",))


class TestOptions:
    """`backbone_params`, in scikit-learn's ways."""

    def test_one_option_is_set_and_the_others_stay(self):
        given = {"levels": "pooled", "crops": 0.5}
        model = FaceEmbedder(backbone_params=given)
        model.set_params(backbone__levels="stage128")
        assert model.backbone_params == {"levels": "stage128", "crops": 0.5}
        assert given["levels"] == "pooled"
        assert model.get_params()["backbone__crops"] == 0.5
        assert clone(model).get_params() == model.get_params()

    def test_a_backbone_and_its_option_are_set_together(self, stripes):
        model = FaceEmbedder().set_params(backbone__stripes=8, backbone=stripes)
        assert make_backbone(model.backbone, **model.backbone_params).n_features == 24

    def test_a_search_over_an_option(self, stripes):
        faces = make_faces(stripes, 8)
        model = JointAffectEstimator(stripes, max_epochs=1, random_state=0, device="cpu")
        grid = [{"backbone__stripes": [2, 8]}, {"backbone_params": [None, {"stripes": 7}]}]
        search = GridSearchCV(model, grid, cv=2, error_score="raise", refit=True)
        search.fit(faces, np.random.default_rng(0).uniform(size=(8, 2)))
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert len(search.cv_results_["params"]) == 4


class TestFormat1:
    """Files from before `backbone_params`."""

    @pytest.fixture
    def old(self, tmp_path):
        """Write a model as format 1 did: `levels` and `crops` are parameters of the estimator."""
        faces = make_faces("resnet29")
        model = JointAffectEstimator(
            "resnet29",
            backbone_params={"levels": "pooled", "crops": [1.0, 0.6]},
            max_epochs=1,
            random_state=0,
            device="cpu",
        ).fit(faces, np.linspace(0, 1, 8).reshape(4, 2))
        path = tmp_path / "model"
        save_model(model, path)

        def write(**parameters):
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            description = json.loads(header["persona_affect"])
            description.pop("backbones", None)
            description["format_version"] = 1
            node = description["model"]["parameters"]
            node.pop("backbone_params", None)
            node.update({"levels": "pooled", "crops": [1.0, 0.6], **parameters})
            text = json.dumps(description)
            header = {"persona_affect": text, "sha256": _files._digest(text, tensors)}
            save_file(tensors, path, metadata=header)
            return path

        return write, model, faces

    def test_levels_and_crops_are_read(self, old):
        write, model, faces = old
        loaded = load_model(write())
        assert loaded.backbone_params == {"levels": "pooled", "crops": [1.0, 0.6]}
        np.testing.assert_array_equal(loaded.predict(faces), model.predict(faces))

    def test_paths_are_dropped(self, old, tmp_path):
        write, _, _ = old
        loaded = load_model(write(checkpoint=str(tmp_path / "run"), weights="/elsewhere.dat"))
        assert (loaded.checkpoint, loaded.weights) == (None, None)

    def test_other_parameters_are_refused(self, old):
        with pytest.raises(ModelFormatError, match="ears"):
            load_model(old[0](ears=2))
