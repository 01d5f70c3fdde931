"""Alignment of five landmarks to a template by a similarity: rotation, scale and shift."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ._templates import Template


def estimate_similarity(
    source: npt.NDArray[np.floating], target: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Find the similarities that map points onto others with the least squared error.

    Umeyama, *Least-squares estimation of transformation parameters between two point patterns*,
    IEEE TPAMI 1991, in its closed form for the plane.

    Parameters
    ----------
    source : ndarray of shape (n, k, 2)
        Points, such as the landmarks of n faces.
    target : ndarray of shape (k, 2) or (n, k, 2)
        Where they go: the same for all, or others for each.

    Returns
    -------
    ndarray of shape (n, 2, 3)
        Matrices ``[[a, -b, x], [b, a, y]]``: rotation and scale, without shear and reflection, then
        a shift. If all source points of a row are the same, a = b = 0.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import estimate_similarity
    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> (estimate_similarity(square[None], 2 * square + 3)[0] + 0.0).round(6)
    array([[2., 0., 3.],
           [0., 2., 3.]])
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.broadcast_to(np.asarray(target, dtype=np.float64), source.shape)
    source_mean, target_mean = source.mean(axis=1), target.mean(axis=1)
    u, v = source - source_mean[:, None], target - target_mean[:, None]
    # In the plane a similarity is a complex factor, and least squares has one solution.
    spread = (u**2).sum(axis=(1, 2))
    spread[spread == 0] = np.inf
    a = (u * v).sum(axis=(1, 2)) / spread
    b = (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]).sum(axis=1) / spread
    linear = np.stack([np.stack([a, -b], axis=-1), np.stack([b, a], axis=-1)], axis=1)
    shift = target_mean - np.einsum("nij,nj->ni", linear, source_mean)
    return np.concatenate([linear, shift[..., None]], axis=2)


def align_face(
    image: npt.NDArray[np.uint8],
    landmarks: npt.NDArray[np.floating],
    template: Template,
    margin: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Warp one face onto a template.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The photo, RGB.
    landmarks : ndarray of shape (5, 2)
        x and y in pixels of `image`.
    template : Template
        Size of the result, and where the landmarks go.
    margin : float, default=0.0
        Extra context on each side, as a share of the template: see :meth:`Template.points`.

    Returns
    -------
    ndarray of uint8, shape (template.height, template.width, 3)
        Beyond the photo's border its edge pixels are repeated.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import Template, align_face
    >>> square = Template(64, 64, ((20, 24), (44, 24), (32, 36), (23, 48), (41, 48)))
    >>> photo = np.zeros((120, 110, 3), np.uint8)
    >>> landmarks = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [70, 92]])
    >>> align_face(photo, landmarks, square).shape
    (64, 64, 3)
    """
    matrix = estimate_similarity(landmarks[None], template.points(margin))[0]
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        # Below half size, bilinear sampling skips pixels: shrink by area first, around the face.
        image, matrix = _shrink(image, matrix, template, scale)
    size = template.width, template.height
    face = cv2.warpAffine(
        image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return face.astype(np.uint8, copy=False)


def _shrink(
    image: npt.NDArray[np.uint8],
    matrix: npt.NDArray[np.float64],
    template: Template,
    scale: float,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Crop the area that the warp uses, shrink it by an integer, and adapt the matrix."""
    step = int(1 / max(scale, 1e-6))
    inverse = cv2.invertAffineTransform(matrix)
    w, h = template.width, template.height
    corners = np.array([[-1, -1, 1], [w, -1, 1], [-1, h, 1], [w, h, 1]]) @ inverse.T
    height, width = image.shape[:2]
    low = np.floor(corners.min(axis=0)).astype(int) - step
    high = np.ceil(corners.max(axis=0)).astype(int) + step
    # At least one pixel of the photo remains, even for a face that lies outside it.
    x1, y1 = np.clip(low, 0, [width - 1, height - 1])
    x2, y2 = np.clip(high, [x1 + 1, y1 + 1], [width, height])
    size = max(round((x2 - x1) / step), 1), max(round((y2 - y1) / step), 1)
    small = cv2.resize(image[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA)
    # Pixel centres: x = x1 + (u + 0.5) * ratio - 0.5.
    ratio = np.array([(x2 - x1) / size[0], (y2 - y1) / size[1]])
    grow = np.array(
        [
            [ratio[0], 0, x1 + 0.5 * ratio[0] - 0.5],
            [0, ratio[1], y1 + 0.5 * ratio[1] - 0.5],
            [0, 0, 1],
        ]
    )
    return small.astype(np.uint8, copy=False), matrix @ grow
