"""The settings of the papers, and the output activations of the heads in each."""

from typing import Any, Final, Literal

HEAD_STYLES: Final[dict[str, dict[str, Any]]] = {
    "linear": {
        "pam_activation": "identity",
        "eam_activation": "identity",
        "ram_activation": "identity",
        "ram_hidden": 32,
    },
    "authors": {
        "pam_activation": "identity",
        "eam_activation": "tanh",
        "ram_activation": "tanh",
        "ram_hidden": 32,
    },
    "deeppersonality": {
        "pam_activation": "sigmoid",
        "eam_activation": "tanh",
        "ram_activation": "identity",
        "ram_hidden": 128,
    },
}

_AUTHORS: Final[dict[str, Any]] = {
    "backbone": "sphereface20",
    "lambda_per": 1.0,
    "lambda_emo": 1.0,
    "lambda_coh": 0.05,
    "lambda_ram": 0.2,
    "heads": "authors",
    "loss": "half_squared_error",
    "augmentation": "mirror",
    "mirror": False,
    # Not published: ours, and the same in both presets.
    "optimizer": "sgd",
    "learning_rate": 1e-3,
    "weight_decay": 5e-4,
    "schedule": "cosine",
}

_PRESETS: Final[dict[str, dict[str, Any]]] = {
    # The demo paper: three snippets of each video, one random frame from each.
    "demo": {**_AUTHORS, "n_segments": 3},
    # The released training definition: 10 videos x 10 segments, and 100 emotion faces.
    "authors": {
        **_AUTHORS,
        "n_segments": 10,
        "batch_size": 110,
        "personality_fraction": 10 / 110,
    },
    "deeppersonality": {
        "backbone": "sphereface20",
        "lambda_per": 0.1,
        "lambda_emo": 1.0,
        "lambda_coh": 0.1,
        "lambda_ram": 0.1,
        "heads": "deeppersonality",
        "loss": "smooth_l1",
        "augmentation": "mirror",
        "mirror": False,
        "optimizer": "sgd",
        "learning_rate": 1e-3,
        "weight_decay": 5e-4,
        "schedule": "step",
        "max_epochs": 200,
        "max_grad_norm": None,
    },
}


#: The paper's recipe for person-specific dynamics. What the source does not say is ours: the
#: form of the filters, the number of steps, and their size.
_SONG_2021: Final[dict[str, Any]] = {
    "context": 1,
    "spacing": 1,
    "whiten": False,
    "filter_margin": 1.0,
    "n_steps": 100,
    "step_size": 1.0,
}


def song2021_params() -> dict[str, Any]:
    """Return parameters of :class:`PersonDynamicsEncoder` that follow the paper to the letter.

    The network sees a single still. The inserted filters learn from the person's videos by many
    steps of plain gradient descent on the rank loss, without whitening; the descriptor is the
    weights of all filters, concatenated. Each step uses all windows of the person, so that the
    order of the data is the same for all persons.

    Returns
    -------
    dict
        Parameters by name.

    Notes
    -----
    The abstract says no more than this. Number and size of the steps, the sizes of the network, the
    scores of frames and the form of the filters are ours, so that we claim no equal figures.

    References
    ----------
    Song et al., "Self-supervised Learning of Person-specific Facial Dynamics for Automatic
    Personality Recognition", IEEE TAC 2021.

    Examples
    --------
    >>> from persona_affect import PersonDynamicsEncoder, song2021_params
    >>> PersonDynamicsEncoder(**song2021_params()).context
    1
    """
    return dict(_SONG_2021)


def persemon_params(preset: Literal["demo", "authors", "deeppersonality"]) -> dict[str, Any]:
    """Return the parameters of :class:`JointAffectEstimator` for a published setting.

    Parameters
    ----------
    preset : {"demo", "authors", "deeppersonality"}
        ``"demo"``: the ACM MM 2018 demo paper, three segments a clip. ``"authors"``: the training
        definition that PersEmoN's authors released, ten segments a clip, batches of 10 videos and
        100 emotion faces. The optimiser and its rate are not published; there they are ours.
        ``"deeppersonality"``: the hyperparameters of the DeepPersonality benchmark's
        re-implementation, without its defects: here the coherence loss joins the domains, the RAM
        reads personality faces, and losses are per clip.

    Returns
    -------
    dict
        Parameters by name.

    Raises
    ------
    ValueError
        If there is no such preset.

    Examples
    --------
    >>> from persona_affect import JointAffectEstimator, persemon_params
    >>> JointAffectEstimator(**persemon_params("demo")).backbone
    'sphereface20'
    """
    if preset not in _PRESETS:
        raise ValueError(f"preset={preset!r} is none of {sorted(_PRESETS)}.")
    return dict(_PRESETS[preset])
