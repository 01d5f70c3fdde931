"""ONNX: networks as files that programs in any language run, without this package."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Final

from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from persona_affect._files import atomic_write, check_output
from persona_affect._optional import import_optional
from persona_affect._sklearn import final_step
from persona_affect.estimators import make_face_network
from persona_affect.exceptions import EngineError
from persona_affect.faces import TEMPLATES, FaceAligner
from persona_affect.networks import BACKBONES, Backbone
from persona_affect.persistence import load_model, read_model_info

from ._graphs import draw_batch, first_line, to_onnx
from ._report import find_networks

#: Increased when a program that reads our files must change.
FORMAT_VERSION: Final = "1"
MEANING: Final = (
    "Apparent traits and emotions: impressions that faces make on raters. They do not say what a "
    "person is like or feels, and contain the prejudices of the raters. Do not use them to judge, "
    "select, rank or screen people."
)
LANDMARKS: Final = ("left_eye", "right_eye", "nose", "left_mouth_corner", "right_mouth_corner")


def export_onnx(
    model: Any,
    path: str | PathLike[str],
    *,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a network, from aligned faces to numbers, to an ONNX file.

    Everything between the pixels of an aligned face and the numbers is in the file: preprocessing,
    crops, mirror images, kernel, heads and the units of the labels. The number of faces is free.

    Parameters
    ----------
    model : estimator, Backbone, path-like or None
        A fitted pipeline, whose `FaceAligner` is left out; a `JointAffectEstimator`, a
        `FaceEmbedder` or a `KernelFeatures`; a :class:`persona_affect.networks.Backbone`; the path
        of a saved model; or None for the bundled model.
    path : path-like
        The file to create or replace; it is written completely or not at all.
    notes : mapping of str to str, optional
        What users should know: the source of the labels, the licence, the purpose. Default: those
        in the file of the model, if `model` is a path or None.

    Raises
    ------
    MissingDependencyError
        If the extra ``onnx`` is not installed.
    EngineError
        If a part of the model has no form in ONNX; the message names it.
    NotFittedError
        If the model is not fitted.
    OutputPathError, OutputError
        As for :func:`persona_affect.save_model`.

    Notes
    -----
    The input ``faces`` is uint8 (n_faces, height, width, 3), RGB, aligned to the template that the
    metadata describe (``height``, ``width``, ``landmarks``); or ``embeddings``, float32
    (n, n_features), of a model that was fitted on those. The output is ``targets`` in the units
    of the labels, or ``features``, float32 (n, .). The metadata are texts; lists in them are JSON.
    Read them by ``onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map``.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect.engines import export_onnx
    >>> from persona_affect.networks import make_backbone
    >>> network = make_backbone("faceapi_expression", "pretrained")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(network, f"{folder}/expression.onnx")
    """
    for package in ("onnx", "onnxscript"):
        import_optional(package, extra="onnx", purpose="Writing ONNX")
    check_output(path)
    if model is None or isinstance(model, str | PathLike):
        notes = read_model_info(model).get("notes", {}) if notes is None else notes
        model = load_model(model)
    aligner, model = _split(model)
    if isinstance(model, Backbone):
        network: nn.Module = model
        shape = _shape_of(model)
    else:
        try:
            network = make_face_network(model)
        except ValueError as error:
            raise EngineError(f"This model cannot be written to ONNX: {error}") from error
        shape = _first_network(model)._get_input_shape()
    targets = getattr(final_step(model), "target_names_", None)
    try:
        proto = to_onnx(
            _SinglePrecision(network),
            draw_batch(shape),
            input_name="faces" if len(shape) == 3 else "embeddings",
            output_name="features" if targets is None else "targets",
        )
    except Exception as error:  # the exporter raises errors of many kinds
        raise EngineError(
            f"{type(model).__name__} cannot be written to ONNX: {first_line(error)}"
        ) from error
    onnx = import_optional("onnx", extra="onnx", purpose="Writing ONNX")
    proto.producer_name = "persona-affect"
    proto.doc_string = MEANING
    onnx.helper.set_model_props(proto, _describe(model, aligner, shape, notes or {}))
    onnx.checker.check_model(proto)
    with atomic_write(path) as draft:
        draft.write_bytes(proto.SerializeToString())


class _SinglePrecision(nn.Module):
    """A network whose output is float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Tensor) -> Tensor:
        values: Tensor = self.network(batch)
        return values.float()


def _split(model: Any) -> tuple[FaceAligner | None, Any]:
    """Return the aligner of a pipeline, and the rest of it."""
    if isinstance(model, Pipeline) and isinstance(model[0], FaceAligner):
        return model[0], model[1:]
    return None, model


def _first_network(model: Any) -> Any:
    for _, step in find_networks(model):
        return step
    raise EngineError(f"{type(model).__name__} has no network that could be written to ONNX.")


def _shape_of(network: Backbone) -> tuple[int, ...]:
    size = network.input_size
    return (network.n_features,) if size is None else (*size, 3)


def _describe(
    model: Any, aligner: FaceAligner | None, shape: Sequence[int], notes: Mapping[str, str]
) -> dict[str, str]:
    """Describe input, output and meaning, as texts."""
    found: dict[str, Any] = {"meaning": MEANING, **notes, "format_version": FORMAT_VERSION}
    if len(shape) == 3:
        found |= {"height": shape[0], "width": shape[1], "colours": "RGB", "values": "0 to 255"}
        found |= _describe_template(model, aligner)
    final = final_step(model)
    names = getattr(final, "target_names_", None)
    if names is not None:
        found |= {
            "target_names": names,
            "units": "those of the ratings, whose means and standard deviations follow",
            "rating_means": final.target_means_.tolist(),
            "rating_standard_deviations": final.target_stds_.tolist(),
        }
    licenses = {name: BACKBONES[name].license for name in _backbones_of(model)}
    if licenses:
        found["backbone_licences"] = licenses
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in found.items()}


def _describe_template(model: Any, aligner: FaceAligner | None) -> dict[str, Any]:
    """Describe where the landmarks of a face lie, in pixels of the aligned face."""
    network = model if isinstance(model, Backbone) else _face_network(model)
    name, margin = network.template, 0.0
    if aligner is not None:
        name, margin = aligner.template, aligner.margin
    if name is None or name not in TEMPLATES:
        return {}
    points = TEMPLATES[name].points(margin).astype(float).round(4).tolist()
    return {
        "template": name,
        "margin": margin,
        "landmarks": dict(zip(LANDMARKS, points, strict=True)),
        "alignment": "the similarity of least squares from the five landmarks of the face to these "
        "(x, y), centres of pixels being whole numbers; bilinear",
    }


def _face_network(model: Any) -> Any:
    step = _first_network(model)
    return step.network_ if hasattr(step, "network_") else step.net_.module_.fem


def _backbones_of(model: Any) -> list[str]:
    names = {getattr(step, "backbone", None) for _, step in find_networks(model)}
    shown = {name for name in names if isinstance(name, str) and BACKBONES[name].license}
    return sorted(shown)
