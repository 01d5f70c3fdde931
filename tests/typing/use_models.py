"""Estimators, networks and losses, as users write them: mypy reads this file, nothing runs it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline, make_pipeline
from torch import Tensor, nn

import persona_affect as pa
from persona_affect import (
    ConformalAffect,
    FaceAligner,
    FaceEmbedder,
    JointAffectEstimator,
    KernelFeatures,
    NuisanceShrinkage,
    PersonDynamicsEncoder,
    RAMRegressor,
    TaskFusion,
    load_model,
    persemon_params,
    save_model,
    song2021_params,
)
from persona_affect.estimators import DynamicsSession, make_face_network
from persona_affect.networks import (
    BACKBONES,
    HEADS,
    RAM,
    RELEASES,
    RESNET29_LEVELS,
    SPHEREFACE_UNITS,
    UNET_LEVELS,
    Backbone,
    BackboneSpec,
    DynamicsUNet,
    EmbeddingAdapter,
    FaceApi,
    InceptionResnetV1,
    PersEmoN,
    PersEmoNOutput,
    PersonFilters,
    Release,
    ResidualUnit,
    ResNet29,
    SphereFace,
    check_backbone_params,
    convert_sphereface_state,
    fetch_backbone,
    from_person_mean,
    get_backbone_spec,
    load_resnet29_weights,
    load_sphereface_weights,
    make_backbone,
    parameter_groups,
    register_backbone,
    stack_context,
)
from persona_affect.objectives import (
    PAPER_TERMS,
    REGRESSION_LOSSES,
    TERMS,
    LossTerm,
    PersEmoNLoss,
    TermInputs,
    coherence_loss,
    get_term,
    masked_half_squared_error,
    masked_smooth_l1,
    pool_clips,
    rank_accuracy,
    rank_loss,
    register_term,
    regress,
    window_scores,
)
from persona_affect.persistence import (
    TrainingRun,
    align_together,
    identify_training,
    model_fingerprint,
    read_model_info,
)

Faces = NDArray[np.object_]


def load(path: Path) -> None:
    assert_type(load_model(), Pipeline)
    assert_type(load_model("fast"), Pipeline)
    assert_type(load_model("dynamics"), PersonDynamicsEncoder)
    assert_type(load_model(intervals=True), ConformalAffect)
    assert_type(load_model("fast", intervals=True), ConformalAffect)
    # What a file or a repository holds is known when it is read.
    assert_type(load_model(path), Any)
    assert_type(load_model("owner/name", revision="main"), Any)
    assert_type(pa.load_model(), Pipeline)
    assert_type(pa.__version__, str)


def train(faces: Faces, y: pd.DataFrame, groups: list[str]) -> JointAffectEstimator:
    model = JointAffectEstimator("resnet29", weights="pretrained", random_state=0)
    model = model.set_params(**persemon_params("demo")).fit(faces, y, groups=groups)
    assert_type(model, JointAffectEstimator)
    assert_type(model.get_params(), dict[str, Any])
    assert_type(model.predict(faces), NDArray[np.float64])
    assert_type(model.predict_frames(faces), list[NDArray[np.float64]])
    assert_type(model.predict_from_emotion([[0.1, 0.2]]), NDArray[np.float64])
    assert_type(model.transform(faces), NDArray[np.float32])
    assert_type(model.score(faces, y), float)
    assert_type(model.score_terms(faces, y), "pd.Series[Any]")
    assert_type(model.target_names_, list[str])
    assert_type(model.history_, pd.DataFrame)
    assert_type(make_face_network(model), nn.Module)
    return model


def compose(faces: Faces, y: pd.DataFrame, groups: list[str]) -> Pipeline:
    embedder = FaceEmbedder("faceapi_expression", device="cpu").fit(faces)
    assert_type(embedder, FaceEmbedder)
    embeddings = embedder.transform(faces)
    assert_type(embeddings, NDArray[np.float32])
    shrinkage = NuisanceShrinkage(8).fit(embeddings, groups=groups)
    assert_type(shrinkage, NuisanceShrinkage)
    assert_type(shrinkage.transform(embeddings), NDArray[np.floating])
    assert_type(shrinkage.directions_, NDArray[np.floating])
    kernel = KernelFeatures(64, gamma=0.3).fit(embeddings)
    assert_type(kernel.transform(embeddings), NDArray[np.floating])
    assert_type(kernel.components_, NDArray[np.floating])
    ram = RAMRegressor(max_epochs=5).fit(y[["arousal", "valence"]], y["openness"])
    assert_type(ram.predict(y[["arousal", "valence"]]), NDArray[np.float64])
    assert_type(ram.history_, pd.DataFrame)
    return make_pipeline(FaceAligner(), embedder, shrinkage, kernel, JointAffectEstimator())


def calibrate(model: Pipeline, photos: list[str], y: pd.DataFrame) -> None:
    calibrated = ConformalAffect(model, alpha=0.2).conformalize(photos, y)
    assert_type(calibrated, ConformalAffect)
    assert_type(calibrated.fit(photos, y), ConformalAffect)
    assert_type(calibrated.predict(photos), NDArray[np.float64])
    assert_type(calibrated.predict_interval(photos, alpha=0.1), NDArray[np.float64])
    assert_type(calibrated.predict_table(photos), pd.DataFrame)
    assert_type(calibrated.skip_steps(1).around(model), ConformalAffect)
    assert_type(calibrated.scores_, NDArray[np.float64])


def describe_dynamics(clips: Faces, y: pd.DataFrame) -> None:
    encoder = PersonDynamicsEncoder(**song2021_params()).fit(clips)
    assert_type(encoder, PersonDynamicsEncoder)
    assert_type(encoder.transform(clips), NDArray[np.float32])
    assert_type(encoder.ranking_accuracy(clips), NDArray[np.float64])
    assert_type(encoder.map_difference(clips[0], clips[1:]), NDArray[np.float32])
    assert_type(encoder.net_, DynamicsUNet)
    assert_type(encoder.history_, pd.DataFrame)
    session = encoder.session()
    assert_type(session, DynamicsSession)
    assert_type(session.add(clips[0]).describe(), NDArray[np.float32])
    fusion = TaskFusion(encoder, RAMRegressor(), fusion="late").fit(clips[:, None], y)
    assert_type(fusion.predict(clips[:, None]), NDArray[np.float64])


def save(model: Pipeline, path: Path, faces: Faces, y: pd.DataFrame) -> None:
    save_model(model, path, notes={"licence": "CC0"}, half=True)
    assert_type(read_model_info(path), dict[str, Any])
    assert_type(model_fingerprint(model), str)
    aligner = FaceAligner()
    identity = identify_training(model, aligner, faces, y)
    assert_type(identity, str)
    run = TrainingRun(path, identity)
    if run.finished() is None:
        assert_type(align_together(aligner, faces, run.faces), NDArray[np.object_])
        run.save(model, {"source": "own ratings"})


class MeanColour(Backbone):
    n_features, input_size, template = 3, (112, 96), "sphereface"

    def forward(self, frames: Tensor) -> Tensor:
        return frames.float().mean((1, 2))


def add_backbone(path: Path, frames: Tensor) -> None:
    register_backbone(BackboneSpec("mean-colour", MeanColour, template="sphereface"))
    assert_type(get_backbone_spec("mean-colour"), BackboneSpec)
    check_backbone_params("resnet29", {"levels": "pooled"})
    assert_type(make_backbone("resnet29", "pretrained", levels="pooled"), Backbone)
    assert_type(list(BACKBONES), list[str])
    assert_type(fetch_backbone("sphereface20", cache=path), Path)
    assert_type(RELEASES["sphereface20"], Release)
    state: dict[str, Tensor] = convert_sphereface_state(torch.load(path, weights_only=True))
    sphere = load_sphereface_weights(SphereFace(min(SPHEREFACE_UNITS)), path)
    sphere.load_state_dict(state)
    resnet = load_resnet29_weights(ResNet29(list(RESNET29_LEVELS), grid=4))
    assert_type(resnet.maps(frames), dict[str, Tensor])
    for network in (sphere, resnet, FaceApi("expression"), InceptionResnetV1(), ResidualUnit(64)):
        embedding: Tensor = network(frames)
        print(embedding.shape)


def train_with_torch(frames: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    network = PersEmoN(EmbeddingAdapter(128), heads=HEADS)
    output = network(frames)
    assert isinstance(output, PersEmoNOutput)
    assert_type(output.personality, Tensor | None)
    traits: Tensor = RAM(hidden=16)(frames)
    print(traits.shape)
    assert_type(parameter_groups(network, lr=0.01, weight_decay=1e-4), list[dict[str, Any]])
    loss = PersEmoNLoss(lambda_coh=0.1, regression=min(REGRESSION_LOSSES))
    terms = loss.forward(output, labels, network.heads)
    assert_type(terms, dict[str, Tensor])
    domain = coherence_loss(output.embedding, labels["domain"], network.heads["domain"])
    return domain + sum((terms[name] for name in PAPER_TERMS), torch.zeros(()))


def measure_frames(inputs: TermInputs) -> Tensor | None:
    if inputs.output is None or inputs.labels is None:
        return None
    pooled = pool_clips(inputs.output, inputs.clip, len(inputs.weight))
    smooth = masked_smooth_l1(pooled, inputs.labels)
    return smooth + masked_half_squared_error(inputs.pooled(), inputs.labels, inputs.weight)


def add_term(inputs: TermInputs) -> None:
    register_term(LossTerm("age", measure_frames, build_head=nn.Linear, labels="age"))
    assert_type(get_term("age"), LossTerm)
    assert_type(sorted(TERMS), list[str])
    assert_type(regress(inputs), Tensor | None)


def rank_frames(frames: Tensor, centres: Tensor, person: Tensor) -> None:
    network = DynamicsUNet(scales=(1, 2), context=1)
    assert_type(network.input_offsets(0), list[int])
    filters = PersonFilters(network.level_widths, UNET_LEVELS[:2], n_persons=2)
    stacks = stack_context(frames, centres, context=1)
    assert_type(stacks, Tensor)
    maps = network.forward(stacks, lambda level, x: filters.forward(level, x, person))
    scores = window_scores(maps[:, 0], frames, centres, scale=1)
    assert_type(rank_loss(scores), Tensor)
    assert_type(rank_accuracy(scores, exclude=(0,)), Tensor)
    assert_type(from_person_mean(maps, person, n_persons=2), Tensor)
