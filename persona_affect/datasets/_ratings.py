"""How synthetic persons are rated: the coefficients of their traits, and the noise ceiling.

The coefficients are arbitrary, and say nothing about people.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from persona_affect.datasets._face_parameters import GEOMETRY_NAMES
from persona_affect.metrics import EMOTION_NAMES, PERSONALITY_NAMES

# The spread of traits is like that of ChaLearn First Impressions.
_TRAIT_MEAN, _TRAIT_SPREAD = 0.5, 0.15

# Ranges of arousal and valence: of a person's mean, of samples around it, of frames in a clip.
PERSON_RANGE, SAMPLE_RANGE, MOVEMENT = 0.5, 0.3, 0.2
_SAMPLE_VARIANCE = (PERSON_RANGE**2 + SAMPLE_RANGE**2) / 3
_FRAME_VARIANCE = _SAMPLE_VARIANCE + MOVEMENT**2 / 2

# Terms of the two parts that a face shows, by trait; every column is scaled to length 1, and every
# term has variance 1 over clips, so that each part has variance 1 there.
STATIC_WEIGHTS = pd.DataFrame(
    {
        "extraversion": {"lip_fullness": 0.7, "face_width": 0.6, "lip_fullness^2": -0.3},
        "agreeableness": {"eye_size": 0.8, "brow_thickness": -0.5, "eye_size^2": 0.3},
        "conscientiousness": {"jaw_width": 0.7, "nose_length": 0.6, "jaw_width^2": -0.3},
        "neuroticism": {"eye_spacing": 0.7, "face_width": -0.6, "eye_spacing^2": 0.3},
        "openness": {"nose_width": -0.6, "brow_thickness": 0.7, "brow_thickness^2": 0.3},
    },
    index=[*GEOMETRY_NAMES, *(f"{name}^2" for name in GEOMETRY_NAMES)],
).fillna(0.0)
STATIC_WEIGHTS /= np.sqrt((STATIC_WEIGHTS**2).sum())
EMOTION_WEIGHTS = pd.DataFrame(
    {
        "extraversion": {"arousal": 0.8, "valence": 0.5, "arousal*valence": 0.2},
        "agreeableness": {"arousal": -0.2, "valence": 0.9, "arousal*valence": -0.2},
        "conscientiousness": {"arousal": -0.7, "valence": 0.5, "arousal*valence": 0.3},
        "neuroticism": {"arousal": 0.5, "valence": -0.8, "arousal*valence": -0.2},
        "openness": {"arousal": 0.7, "valence": -0.4, "arousal*valence": 0.4},
    }
)
EMOTION_WEIGHTS /= np.sqrt((EMOTION_WEIGHTS**2).sum())


def rate_traits(z: pd.DataFrame) -> pd.DataFrame:
    """Turn scores of variance 1 into traits, 0.5 + 0.15 z, limited to [0, 1]."""
    return (_TRAIT_MEAN + _TRAIT_SPREAD * z).clip(0, 1)


def trait_parts(
    geometry: NDArray[np.float64], emotion: NDArray[np.float64], noise: NDArray[np.float64]
) -> Bunch:
    """Return the parts of the traits, each with mean 0 and variance 1 over clips."""
    # Legendre polynomials: uncorrelated, of variance 1, for coordinates uniform in [-1, 1].
    static = np.hstack([np.sqrt(3) * geometry, np.sqrt(5) / 2 * (3 * geometry**2 - 1)])
    scaled = emotion / np.sqrt(_SAMPLE_VARIANCE)
    felt = np.column_stack([scaled, scaled.prod(axis=1)])
    traits = list(PERSONALITY_NAMES)
    return Bunch(
        static=pd.DataFrame(static @ STATIC_WEIGHTS.to_numpy(), columns=traits),
        emotion=pd.DataFrame(felt @ EMOTION_WEIGHTS.to_numpy(), columns=traits),
        noise=pd.DataFrame(noise, columns=traits),
    )


def rate(
    parts: Bunch, emotion: NDArray[np.float64], weights: tuple[float, float, float]
) -> pd.DataFrame:
    """Rate samples on all seven targets."""
    static, felt, noise = np.array(weights) / np.linalg.norm(weights)
    traits = rate_traits(static * parts.static + felt * parts.emotion + noise * parts.noise)
    return traits.join(pd.DataFrame(emotion, columns=list(EMOTION_NAMES)))


def noise_ceiling(weights: tuple[float, float, float], n_frames: dict[str, int]) -> pd.DataFrame:
    """Tabulate the ceilings by half and target, from the variances of the parts.

    They are exact, except that traits are clipped to their range in about one of 1,000 ratings.
    """
    static, emotion, noise = np.square(weights)
    rows = {}
    for half, length in n_frames.items():
        # Single frames show more extreme emotions than the mean of a clip does.
        ratio = 1.0 if length > 1 else _FRAME_VARIANCE / _SAMPLE_VARIANCE
        felt = emotion * (np.array([ratio, ratio, ratio**2]) @ EMOTION_WEIGHTS.to_numpy() ** 2)
        total = static + felt + noise
        for k, trait in enumerate(PERSONALITY_NAMES):
            from_pixels, from_emotion = (static + felt[k]) / total[k], felt[k] / total[k]
            rows[half, trait] = (*_r_and_ccc(from_pixels), *_r_and_ccc(from_emotion))
        for name in EMOTION_NAMES:
            rows[half, name] = (1.0, 1.0, np.nan, np.nan)
    return pd.DataFrame(
        list(rows.values()),
        index=pd.MultiIndex.from_tuples(rows, names=["half", "target"]),
        columns=["r", "ccc", "r_from_emotion", "ccc_from_emotion"],
    )


def _r_and_ccc(explained: float) -> tuple[float, float]:
    return float(np.sqrt(explained)), float(2 * explained / (1 + explained))
