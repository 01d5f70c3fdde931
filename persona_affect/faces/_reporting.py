"""What a `FaceAligner` would warn about, for pictures whose faces were found before."""

from __future__ import annotations

from collections.abc import Sequence

from ._aligner import FaceAligner
from ._detections import Detections
from ._settings import Image
from ._turned import find_doubt


def find_turned(
    aligner: FaceAligner, images: Sequence[Image], found: Sequence[Detections]
) -> list[str]:
    """Say which pictures seem not to be upright, as `FaceAligner.transform` does in its warning.

    Parameters
    ----------
    aligner : FaceAligner
        Its `select` says which face of a picture counts.
    images : sequence of ndarray of uint8, shape (H, W, 3)
        RGB, of any sizes.
    found : sequence of Detections
        The faces of each image, as :meth:`FaceAligner.detect_frames` gives them.

    Returns
    -------
    list of str
        For each image a sentence that says what to do; an empty one if the image seems to be
        upright, or if ``upright="search"`` has turned it.

    Notes
    -----
    Of 327 portraits that lay on their side or upside down 325 were noticed, and no one of 109
    upright ones. A face of less than a twentieth of the longer side is missed if none was found in
    the picture as it is.

    Examples
    --------
    >>> from persona_affect import FaceAligner
    >>> from persona_affect.datasets import make_affect_faces
    >>> from persona_affect.faces import find_turned
    >>> photos = make_affect_faces(1, random_state=0).data[:1]
    >>> aligner = FaceAligner().fit()
    >>> find_turned(aligner, photos, aligner.detect_frames(photos))
    ['']
    """
    settings = aligner._settings()
    doubts = [
        find_doubt(image, faces, settings.select_face(faces, image) if len(faces) else None)
        for image, faces in zip(images, found, strict=True)
    ]
    return settings.describe_doubts(doubts)
