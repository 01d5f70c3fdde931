"""Tracking of faces from frame to frame, by roboflow's trackers."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from .._optional import import_optional
from ._detections import Detections

#: Seconds between two updates with the same frame.
_INSTANT: Final = 1e-4


class FaceTracker:
    """Number faces, so that each keeps its number, also through a short occlusion.

    ByteTrack [1]_: boxes are predicted by a Kalman filter and matched by overlap.

    Parameters
    ----------
    memory : float, default=2.0
        Seconds for which a face that is not seen keeps its number.
    frame_rate : float, default=25.0
        Frames a second.

    Raises
    ------
    MissingDependencyError
        If the extra ``app`` is not installed.

    References
    ----------
    .. [1] Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box",
       ECCV 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import Detections, FaceTracker
    >>> def face_at(x):
    ...     box = np.array([[x, 20, x + 40, 60]], np.float32)
    ...     return Detections(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))
    >>> tracker = FaceTracker()
    >>> [int(tracker.update(face_at(x), time=x / 25)[0]) for x in (10, 12, 14)]
    [0, 0, 0]
    """

    def __init__(self, memory: float = 2.0, frame_rate: float = 25.0) -> None:
        trackers = import_optional("trackers", extra="app", purpose="Tracking faces")
        # The buffer is counted in frames of 1/30 s. The detector has its own threshold of scores,
        # so that every detection may start a track immediately.
        self._tracker = trackers.ByteTrackTracker(
            lost_track_buffer=round(30 * memory),
            frame_rate=frame_rate,
            track_activation_threshold=0.0,
            minimum_consecutive_frames=1,
            high_conf_det_threshold=0.0,
        )
        self._now = -math.inf

    def update(self, faces: Detections, time: float) -> npt.NDArray[np.intp]:
        """Return the number of each face of the next frame.

        Parameters
        ----------
        faces : Detections
            Those of the next frame.
        time : float
            Time of the frame in seconds, later than that of the frame before.

        Returns
        -------
        ndarray of int, shape (n,)
            Numbers from 0, in the order of `faces`.
        """
        from supervision import Detections as Boxes

        boxes = Boxes(
            xyxy=np.asarray(faces.boxes, dtype=np.float32).reshape(-1, 4),
            confidence=np.asarray(faces.scores, dtype=np.float32),
            data={"row": np.arange(len(faces))},
        )
        # The tracker ignores frames that are not later than the last one.
        self._now = max(time, self._now + _INSTANT)
        tracked = self._tracker.update(boxes, timestamp=self._now)
        if -1 in np.asarray(tracked.tracker_id):
            # A new track gets its number when it is seen for the second time: pass the same faces
            # again, a moment later.
            self._now += _INSTANT
            tracked = self._tracker.update(boxes, timestamp=self._now)
        numbers = np.full(len(faces), -1, dtype=np.intp)
        if len(tracked):
            numbers[tracked.data["row"]] = np.asarray(tracked.tracker_id)
        return numbers
