"""How reliable the numbers of a face are, as one number and in words."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from persona_affect.faces import FaceQuality

#: Share of the bundled model's advantage over a constant prediction that is left, by cause, between
#: the points that are listed. Chosen by hand after what ``benchmarks/intervals.py`` measures for
#: blur, size and compression, on the safe side; yaw and confidence were not measured.
_CURVES: Final[dict[str, tuple[Sequence[float], Sequence[float]]]] = {
    "sharpness": ((0.02, 0.04, 0.06, 0.08, 0.10), (0.0, 0.4, 0.7, 0.9, 1.0)),
    "width": ((8, 14, 20, 32, 48), (0.0, 0.4, 0.7, 0.9, 1.0)),
    "turn": ((30, 45, 60, 90), (1.0, 0.8, 0.4, 0.0)),
    "confidence": ((0.6, 0.9, 0.98), (0.3, 0.8, 1.0)),
    "distance": ((1.3, 1.6, 2.5), (1.0, 0.7, 0.0)),
    "blockiness": ((1.8, 2.2, 4.0, 8.0), (1.0, 0.79, 0.6, 0.3)),
}
#: Shares below which a cause is named.
_NAMED: Final = 0.8


def rate_reliability(
    quality: FaceQuality, distances: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], list[str]]:
    """Rate how reliable the numbers of faces are.

    Parameters
    ----------
    quality : FaceQuality
        Of n faces.
    distances : ndarray of shape (n,), optional
        From the training faces, as :meth:`ConformalAffect.describe_faces` returns them.

    Returns
    -------
    reliability : ndarray of shape (n,)
        Between 0 and 1: 1 for faces that are like those of the training in all that is measured; 0
        where the model is expected to be no better than the mean rating of all faces. In between,
        the share of its advantage over that mean that is expected to be left, for the worst of the
        causes: blur, few pixels, pose, a detector that is not sure, blocks of strong compression,
        distance from the training faces.
    remarks : list of str
        For each face the causes that matter, in words, such as "blurred, 40 pixels wide"; empty if
        there are none.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.annotation import rate_reliability
    >>> from persona_affect.faces import FaceQuality
    >>> width, level, sure = np.array([200.0, 20.0]), np.zeros(2), np.ones(2)
    >>> quality = FaceQuality(width, np.full(2, 0.2), level, level, level, sure, sure)
    >>> reliability, remarks = rate_reliability(quality)
    >>> bool(reliability[0] > reliability[1])
    True
    """
    turn = np.abs(quality.yaw)
    measured = {
        "sharpness": quality.sharpness,
        "width": quality.width,
        "turn": turn,
        "confidence": quality.confidence,
        "blockiness": quality.blockiness,
    }
    if distances is not None:
        measured["distance"] = distances
    shares = {name: np.interp(values, *_CURVES[name]) for name, values in measured.items()}
    # What cannot be measured counts as unlike any face.
    reliability = np.nan_to_num(np.min(list(shares.values()), axis=0))
    remarks = []
    for i in range(len(turn)):
        words = {
            "sharpness": "blurred",
            "width": f"{quality.width[i]:.0f} pixels wide",
            "turn": "in profile" if turn[i] > 60 else f"turned by {turn[i]:.0f} degrees",
            "confidence": "hardly recognised as a face",
            "blockiness": "strongly compressed",
            "distance": "unlike the training faces",
        }
        named = [words[name] for name, share in shares.items() if not share[i] >= _NAMED]
        remarks.append(", ".join(named))
    return reliability, remarks
