"""Camera and alignment: from a rendered scene to the data."""

import cv2
import numpy as np
from numpy.typing import NDArray

from persona_affect.faces import TEMPLATES, align_face, estimate_similarity


def photograph(
    image: NDArray[np.uint8], shift: float, rng: np.random.RandomState
) -> NDArray[np.uint8]:
    """Apply blur, contrast and colour cast by the domain shift, and sensor noise always."""
    picture = image
    if shift > 0:
        picture = np.asarray(
            cv2.GaussianBlur(image, (0, 0), 0.7 * shift * len(image) / 128), np.uint8
        )
        gains = np.exp(np.array([0.12, 0.0, -0.18]) * shift)
        levels = 128 + (np.arange(256.0)[:, None] - 128) / (1 + 0.5 * shift)
        table = np.clip(np.rint(levels * gains), 0, 255).astype(np.uint8)
        picture = np.asarray(cv2.LUT(picture, table[None]), np.uint8)
    noise = rng.randint(-4, 5, image.shape, dtype=np.int8)
    return np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)


def align(
    image: NDArray[np.uint8], landmarks: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Align a face as `FaceAligner` does, by known landmarks; return both aligned."""
    template = TEMPLATES["sphereface"]
    matrix = estimate_similarity(landmarks[None], template.points())[0]
    return align_face(image, landmarks, template), landmarks @ matrix[:, :2].T + matrix[:, 2]
