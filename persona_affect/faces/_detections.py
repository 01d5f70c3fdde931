"""What a detector finds in a photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces of one photo, in the order of falling confidence.

    Attributes
    ----------
    boxes : ndarray of float32, shape (n, 4)
        Left, top, right and bottom edges in pixels; they may lie outside the photo.
    scores : ndarray of float32, shape (n,)
        Confidence in [0, 1].
    landmarks : ndarray of float32, shape (n, 5, 2)
        x and y in pixels of the left eye, right eye, nose, left and right mouth corner, as the
        viewer sees them.

    Examples
    --------
    >>> from persona_affect import FaceAligner
    >>> from persona_affect.datasets import make_affect_faces
    >>> photo = make_affect_faces(1, random_state=0).data[0]
    >>> found = FaceAligner().fit().detect([photo])[0]
    >>> len(found), found.boxes.shape, found.landmarks.shape
    (1, (1, 4), (1, 5, 2))
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: npt.NDArray[np.intp]) -> Detections:
        return Detections(self.boxes[keep], self.scores[keep], self.landmarks[keep])

    @classmethod
    def none(cls) -> Detections:
        """Return the detections of a photo without a face."""
        return cls(
            np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)
        )
