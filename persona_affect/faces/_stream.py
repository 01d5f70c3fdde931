"""The faces of one person from a camera, at equal times, as its frames come."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ._aligner import FaceAligner
from ._detections import Detections
from ._face_clip import CLOSE, longest_step, resample_faces
from ._templates import get_template


class FaceStream:
    """Follow one person in a stream, and return aligned faces at equal times.

    Each frame is searched, so that faces have the same pixels as those of a whole video: those
    that are only followed are cut out a little differently. The first face is the one that
    `select` of the aligner prefers, the next ones are those nearest to it, until it is lost.
    Faces are mixed from those before and after each of the times 0, 1 / rate, 2 / rate, ..., as
    ``FaceAligner(rate=...)`` does with a whole video. Only the last face is kept.

    Parameters
    ----------
    aligner : FaceAligner
        With a `rate`.

    Attributes
    ----------
    n_frames : int
        Frames looked at so far.
    n_gaps : int
        How often the face was lost, or frames were too far apart.

    Raises
    ------
    ValueError
        If the aligner has no `rate`.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect import FaceAligner
    >>> from persona_affect.faces import FaceStream
    >>> stream = FaceStream(FaceAligner(rate=25))
    >>> faces, follows = stream.add(np.zeros((120, 160, 3), np.uint8), time=0.0)
    >>> faces.shape, follows
    ((0, 112, 96, 3), False)
    """

    def __init__(self, aligner: FaceAligner) -> None:
        if aligner.rate is None:
            raise ValueError("The aligner of a stream needs a rate: FaceAligner(rate=25).")
        self.n_frames = self.n_gaps = 0
        self._aligner, self._rate = aligner, float(aligner.rate)
        self._boxes = np.empty((0, 4), np.float32)
        self._last: tuple[npt.NDArray[np.uint8], float] | None = None

    def add(self, image: npt.NDArray[np.uint8], time: float) -> tuple[npt.NDArray[np.uint8], bool]:
        """Look at the next frame.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            RGB.
        time : float
            Seconds, larger than before.

        Returns
        -------
        faces : ndarray of uint8, shape (n, height, width, 3)
            Faces at the times after the frame before, up to this one; n is often 0 or 1.
        follows : bool
            Whether they follow the faces returned before without a gap. False as long as there is
            no face.
        """
        self.n_frames += 1
        found = self._find(image)
        last = self._last
        if last is not None and (not len(found) or time - last[1] > longest_step(self._rate)):
            self.n_gaps += 1
            last = None
        if not len(found):
            self._last = None
            template = get_template(self._aligner.template)
            return np.empty((0, template.height, template.width, 3), np.uint8), False
        (face,) = self._aligner.align_faces(image, found.landmarks)
        self._last = face, time
        faces, times = ([face], [time]) if last is None else ([last[0], face], [last[1], time])
        clip = resample_faces(faces, range(len(faces)), times, self._rate, face.shape[:2])
        if last is not None:
            # The face before was returned with its frame if that was at one of the times.
            place = last[1] * self._rate
            clip = clip[math.floor(place + CLOSE) - math.ceil(place - CLOSE) + 1 :]
        return clip, last is not None

    def _find(self, image: npt.NDArray[np.uint8]) -> Detections:
        """Find the person's face, or none: the one nearest to where it was before."""
        (found,) = self._aligner.detect_frames([image])
        if len(found):
            if len(self._boxes):
                centres = found.boxes[:, :2] + found.boxes[:, 2:]
                moves = centres - self._boxes[:, :2] - self._boxes[:, 2:]
                chosen = int(np.hypot(*moves.T).argmin())
            else:
                chosen = self._aligner.select_face(found, image)
            found = found[np.array([chosen])]
        self._boxes = found.boxes
        return found
