"""One safetensors file for each model: its tensors, and a description as JSON in the header."""

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, overload

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from torch import Tensor

from persona_affect._files import atomic_write, check_output
from persona_affect._sklearn import final_step
from persona_affect.estimators import ConformalAffect, PersonDynamicsEncoder
from persona_affect.exceptions import (
    ModelFormatError,
    ModelReadError,
    OutputError,
)

from ._bundled import BUNDLED_BY_NAME, DynamicsName, ImpressionsName, bundled_model
from ._checks import check_input
from ._descriptions import MAX_LENGTH, check_description
from ._hub import HubModel, find_on_hub, is_hub_name
from ._intervals import describe_intervals, rebuild_intervals, take_intervals
from ._models import NOT_A_MODEL, describe, rebuild
from ._parts import name_packages, require_parts
from ._upgrades import FORMAT_VERSION, upgrade

_LIBRARIES = ("persona-affect", "numpy", "safetensors", "scikit-learn", "skorch", "torch")
#: Far above real models.
_MAX_TENSORS: Final = 100_000

#: What a high value means, by target.
POLARITY: Final[dict[str, str]] = {
    "neuroticism": (
        "as in the labels that it was trained on; ChaLearn First Impressions calls the emotionally "
        "stable high"
    ),
    "arousal": "-1 calm, 1 excited",
    "valence": "-1 negative, 1 positive",
}
_SAME_AS_LABELS = "as in the labels that it was trained on"


def save_model(
    model: BaseEstimator,
    path: str | PathLike[str],
    *,
    notes: Mapping[str, str] | None = None,
    half: bool = False,
) -> None:
    """Save a fitted model as one safetensors file, without pickle.

    Parameters
    ----------
    model : estimator
        A `JointAffectEstimator`, `RAMRegressor`, `FaceEmbedder`, `PersonDynamicsEncoder`,
        `FaceAligner` or a `Pipeline` of these classes, fitted. The `memory` and `verbose` of a
        pipeline are not saved. A `ConformalAffect` around one of them is saved as that model, with
        the calibration beside it.
    path : path-like
        The file to create or replace; it is written completely or not at all.
    notes : mapping of str to str, optional
        What users should know: the source of the labels, the licence, the purpose.
    half : bool, default=False
        Store the weights of convolutions in half precision: about half the size if a feature
        extractor is most of the model. Predictions then differ a little from those of `model`.

    Raises
    ------
    NotFittedError
        If the model, or a step, is not fitted.
    ValueError
        If a part cannot be stored without code: another class, a backbone given as a function,
        callbacks, a random state that is not an integer.
    OutputPathError
        Before any work, if nothing can be written to `path`, or if it is a file that a parameter
        names, such as `weights`.
    OutputError
        If writing fails, as on a full disk; a file that was there before is unchanged.

    See Also
    --------
    load_model : Its inverse.

    Notes
    -----
    Parameters are stored, except paths and ``n_jobs=``: ``weights="/home/me/sphereface.pt"``,
    ``checkpoint=`` and ``cache=`` are left out. The weights themselves are in the file. Set these
    parameters again before another fit.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> from persona_affect import RAMRegressor, load_model, save_model
    >>> emotion, traits = np.eye(3, 2), np.array([[0.4], [0.6], [0.5]])
    >>> model = RAMRegressor(max_epochs=5, random_state=0).fit(emotion, traits)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(model, Path(folder, "ram.safetensors"))
    ...     again = load_model(Path(folder, "ram.safetensors"))
    >>> bool(np.array_equal(again.predict(emotion), model.predict(emotion)))
    True
    """
    parameters = model.get_params() if hasattr(model, "get_params") else {}
    check_output(path, inputs=parameters.values())
    tensors: dict[str, Tensor] = {}
    intervals = None
    if isinstance(model, ConformalAffect):
        intervals = describe_intervals(model, tensors)
        model = model.estimator_
    node = describe(model, tensors)
    if half:
        # The weights of convolutions are all small; half precision could lose other numbers.
        tensors = {
            name: tensor.half() if tensor.ndim == 4 and tensor.dtype == torch.float32 else tensor
            for name, tensor in tensors.items()
        }
    names = [str(name) for name in getattr(final_step(model), "target_names_", [])]
    description = {
        "format_version": FORMAT_VERSION,
        "class": type(model).__name__,
        "target_names": names,
        "polarity": {name: POLARITY.get(name, _SAME_AS_LABELS) for name in names},
        "notes": dict(notes or {}),
        "libraries": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _LIBRARIES},
        },
        # With the packages that register them, so that loading can say what to import.
        **name_packages(node),
        "model": node,
    }
    if intervals is not None:
        description["intervals"] = intervals
    check_description(description)
    text = json.dumps(description, indent=1)
    if len(text) > MAX_LENGTH:
        raise ValueError(f"The description has {len(text):,} characters, above {MAX_LENGTH:,}.")
    header = {"persona_affect": text, "sha256": _digest(text, tensors)}
    with atomic_write(path) as draft:
        try:
            save_file(tensors, draft, metadata=header)
        except SafetensorError as error:
            raise OutputError(f"{path} cannot be written: {error}.") from error


@overload
def load_model(
    path: ImpressionsName | None = None, *, intervals: Literal[False] = False
) -> Pipeline: ...
@overload
def load_model(
    path: DynamicsName, *, intervals: Literal[False] = False
) -> PersonDynamicsEncoder: ...
@overload
def load_model(
    path: str | PathLike[str] | None = None,
    *,
    intervals: Literal[True],
    revision: str | None = None,
) -> ConformalAffect: ...
@overload
def load_model(
    path: str | PathLike[str] | None = None,
    *,
    intervals: bool = False,
    revision: str | None = None,
) -> Any: ...
def load_model(
    path: str | PathLike[str] | None = None,
    *,
    intervals: bool = False,
    revision: str | None = None,
) -> Any:
    """Load a model that :func:`save_model` wrote; loading never runs code from the file.

    Parameters
    ----------
    path : path-like, optional
        The file; without it, the model of impressions that comes with this package. If no file has
        that name, ``"fast"`` is a small, fast model of the same, ``"dynamics"`` the bundled
        :class:`PersonDynamicsEncoder`, and ``"owner/name"`` a repository on the Hugging Face Hub,
        whose model and card are downloaded once (extra ``hub``).
    intervals : bool, default=False
        Load the :class:`ConformalAffect` around the model, which predicts intervals.
    revision : str, optional
        Of a repository: a commit, which always gives the same model, a tag or a branch. By default
        the newest; :func:`read_model_info` has its commit.

    Returns
    -------
    estimator
        Fitted. On the same machine its predictions equal those of the saved model bit by bit
        (unless saved with `half`). A model fitted on a GPU loads without one. Each `fit` starts
        from the beginning.

    Raises
    ------
    ModelFormatError
        If the file is not a model, is damaged or altered, or has a format that this version does
        not read; or, with `intervals`, if it has no calibration. The message says what to do.
    MissingDependencyError
        If the model uses a backbone or a detector that another package registers; the message
        names what to import first. For a repository also if the extra ``hub`` is not installed.
    WeightsError
        If there is no `path`, and no model came with this package.
    FileNotFoundError
        If there is no such file.
    ModelReadError
        If it is a folder or a device, or cannot be read; or if a repository has no such model or
        revision, or cannot be reached.
    ValueError
        If `revision` is given for a file.

    See Also
    --------
    save_model : Its inverse.
    persona_affect.persistence.read_model_info : The description alone.

    Examples
    --------
    >>> from persona_affect import load_model
    >>> model = load_model()
    >>> [name for name, _ in model.steps]
    ['facealigner', 'featureunion', 'jointaffectestimator']
    >>> model[-1].target_names_[:3]
    ['trustworthy', 'outgoing', 'dominant']
    >>> type(load_model("dynamics")).__name__
    'PersonDynamicsEncoder'
    """
    path, _ = _find_model(path, revision)
    description, tensors = _read(path)
    try:
        require_parts(description)
        calibration = take_intervals(tensors)
        model = rebuild(description["model"], tensors)
        if not intervals:
            return model
        if "intervals" in description:
            return rebuild_intervals(description["intervals"], model, calibration)
    except NOT_A_MODEL as error:
        raise ModelFormatError(f"{path} describes no model: {error}.") from error
    raise ModelFormatError(
        f"{path} has no calibration for intervals: save a ConformalAffect around the model, after "
        "conformalize() with samples of persons that it did not learn from."
    )


def read_model_info(
    path: str | PathLike[str] | None = None, *, revision: str | None = None
) -> dict[str, Any]:
    """Read the description of a saved model.

    Parameters
    ----------
    path, revision
        As for :func:`load_model`.

    Returns
    -------
    dict
        ``class``, ``target_names``, ``polarity`` and ``notes``, ``libraries`` with their versions
        when it was saved, ``backbones`` and ``detectors`` with the modules that register them,
        ``format_version``, and ``model``: classes, parameters and facts. Of a repository on a hub
        also ``hub``: its ``name``, the ``revision`` (commit), and the ``card``, the text of its
        ``README.md``.

    Raises
    ------
    ModelFormatError, ModelReadError, WeightsError, FileNotFoundError, ValueError
        As :func:`load_model`.
    MissingDependencyError
        If `path` names a repository, and the extra ``hub`` is not installed.

    Examples
    --------
    >>> from persona_affect.persistence import read_model_info
    >>> read_model_info()["target_names"][:2]
    ['trustworthy', 'outgoing']
    """
    path, found = _find_model(path, revision)
    description = _read(path)[0]
    return description if found is None else {**description, "hub": found.describe()}


def model_fingerprint(model: BaseEstimator) -> str:
    """Compute a checksum of a fitted model, from its parameters and tensors.

    Parameters
    ----------
    model : estimator
        As for :func:`save_model`.

    Returns
    -------
    str
        A SHA-256 checksum, in hexadecimal digits.

    Raises
    ------
    NotFittedError, ValueError
        As :func:`save_model`.

    Examples
    --------
    >>> from persona_affect import load_model
    >>> from persona_affect.persistence import model_fingerprint
    >>> model = load_model()
    >>> len(model_fingerprint(model)), model_fingerprint(model) == model_fingerprint(load_model())
    (64, True)
    """
    tensors: dict[str, Tensor] = {}
    nodes = []
    if isinstance(model, ConformalAffect):
        nodes.append(describe_intervals(model, tensors))
        model = model.estimator_
    nodes.append(describe(model, tensors))
    return _digest(json.dumps(nodes[0] if len(nodes) == 1 else nodes), tensors)


def _find_model(
    path: str | PathLike[str] | None, revision: str | None
) -> tuple[Path, HubModel | None]:
    """Find the file of a model: given by its path, or the name of a bundled one or one on a hub."""
    if isinstance(path, str) and is_hub_name(path):
        found = find_on_hub(path, revision)
        return found.path, found
    if revision is not None:
        raise ValueError(f"revision={revision!r} is for models on a hub; {path} is none.")
    if path is None:
        return bundled_model(), None
    if isinstance(path, str | Path) and str(path) in BUNDLED_BY_NAME and not Path(path).exists():
        return bundled_model(str(path)), None
    if not isinstance(path, str | PathLike):
        raise ModelReadError(
            f"a model is loaded from a path, not from {type(path).__name__}: give the path of the "
            "file that save_model wrote."
        )
    return Path(path), None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    check_input(path)
    try:
        with safe_open(path, framework="pt") as file:
            header, names = file.metadata() or {}, file.keys()
            if len(names) > _MAX_TENSORS:
                raise ModelFormatError(f"{path} is no model: it has {len(names):,} tensors.")
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ModelFormatError(
            f"{path} is damaged, or not a model of this package: {error}. Get or save it again."
        ) from error
    except OSError as error:
        raise ModelReadError(f"{path} cannot be read: {error}.") from error
    if not {"persona_affect", "sha256"} <= header.keys():
        raise ModelFormatError(
            f"{path} is a safetensors file, but not of a model that save_model wrote."
        )
    text = header["persona_affect"]
    if header["sha256"] != _digest(text, tensors):
        raise ModelFormatError(f"{path} was damaged or altered: its checksum differs.")
    if len(text) > MAX_LENGTH:
        raise ModelFormatError(f"{path} is no model: its description has {len(text):,} characters.")
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} has an unreadable description: {error}") from error
    try:
        check_description(description)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} describes no model: {error}.") from error
    return upgrade(description, path), tensors


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Compute a checksum of everything in the file, against accidents, not against attacks."""
    sum_ = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sum_.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sum_.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sum_.hexdigest()
