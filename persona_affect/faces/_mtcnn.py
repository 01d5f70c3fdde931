"""The MTCNN cascade: proposals over a pyramid, refinement, and landmarks.

The decisions are those of facenet-pytorch's detector, so that its published weights and thresholds
mean the same; the work is done for all images and candidates at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ._boxes import FloatArray, make_square, refine, suppress
from ._mtcnn_networks import load_networks
from ._pooling import crop_area, integral, resize_area

#: Ratio of successive pyramid levels: the area halves.
PYRAMID_FACTOR = 0.709
#: Side and step, in pixels of a pyramid level, of the windows that the proposal network looks at.
WINDOW, STRIDE = 12, 2
#: Candidates that pass through the second and third network at once.
CROPS = 512

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces of one photo, most confident first.

    Attributes
    ----------
    boxes : ndarray of float32, shape (n, 4)
        Left, top, right and bottom edges in pixels; they may lie outside the photo.
    scores : ndarray of float32, shape (n,)
        Confidence in [0, 1].
    landmarks : ndarray of float32, shape (n, 5, 2)
        x and y in pixels of the left eye, right eye, nose, left and right mouth corner, as the
        viewer sees them.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: npt.NDArray[np.intp]) -> Detections:
        return Detections(self.boxes[keep], self.scores[keep], self.landmarks[keep])


@dataclass
class _Candidates:
    """Boxes under examination, all images together."""

    boxes: FloatArray
    scores: FloatArray
    image: npt.NDArray[np.intp]

    def __getitem__(self, keep: npt.NDArray[np.intp]) -> _Candidates:
        return _Candidates(self.boxes[keep], self.scores[keep], self.image[keep])


def detect_faces(
    images: Sequence[Image],
    *,
    min_face_size: float = 20,
    thresholds: Sequence[float] = (0.6, 0.7, 0.7),
    device: str = "cpu",
) -> list[Detections]:
    """Find all faces in RGB images of any sizes.

    Parameters
    ----------
    images : sequence of uint8 arrays (H, W, 3)
    min_face_size : float, default=20
        Side in pixels of the smallest faces looked for.
    thresholds : three floats in [0, 1], default=(0.6, 0.7, 0.7)
        Scores above which candidates pass the first, second and third network.
    device : str, default="cpu"
        Where the networks run.

    Returns
    -------
    list of Detections
        One for each image.
    """
    if not images:
        return []
    pnet, rnet, onet = load_networks(device)
    sums = [integral(image) for image in images]
    with torch.inference_mode():
        found = _propose(sums, pnet, min_face_size, thresholds[0], device)
        found = _refine(sums, found, rnet, thresholds[1], device)
        return _finish(sums, found, onet, thresholds[2], device)


def pyramid_scales(height: int, width: int, min_face_size: float) -> list[float]:
    """Return the scales at which faces from `min_face_size` to the image's side fill a window."""
    scale = WINDOW / min_face_size
    scales = []
    while min(height, width) * scale >= WINDOW:
        scales.append(scale)
        scale *= PYRAMID_FACTOR
    return scales


def _propose(
    sums: list[npt.NDArray[np.int32]],
    pnet: nn.Module,
    min_face_size: float,
    threshold: float,
    device: str,
) -> _Candidates:
    """First stage: windows over all scales that may hold a face."""
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, table in enumerate(sums):
        by_size[table.shape[0] - 1, table.shape[1] - 1].append(index)

    # For each image, the surviving windows of each level: corners, score and offsets.
    levels: list[list[FloatArray]] = [[np.empty((0, 9), np.float32)] for _ in sums]
    for (height, width), members in by_size.items():
        for scale in pyramid_scales(height, width, min_face_size):
            shape = int(height * scale + 1), int(width * scale + 1)
            level = np.stack([resize_area(sums[i], *shape) for i in members])
            logits, offsets = pnet(_to_tensor(level, device))
            passed = logits[:, 0] >= _logit(threshold)
            for row, index in enumerate(members):
                levels[index].append(_windows(passed[row], logits[row, 0], offsets[row], scale))

    found = []
    for index, parts in enumerate(levels):
        windows = np.concatenate(parts)
        windows = windows[suppress(windows[:, :4], windows[:, 4], 0.7)]
        boxes = make_square(refine(windows[:, :4], windows[:, 5:], edge=0))
        found.append(_Candidates(boxes, windows[:, 4], np.full(len(windows), index)))
    return _Candidates(
        np.concatenate([c.boxes for c in found]),
        np.concatenate([c.scores for c in found]),
        np.concatenate([c.image for c in found]),
    )


def _windows(passed: Tensor, logits: Tensor, offsets: Tensor, scale: float) -> FloatArray:
    """Return the windows of one level that pass and are the best in their place, shape (n, 9)."""
    place = passed.nonzero()
    rows = torch.cat([logits[passed].sigmoid()[:, None], offsets[:, passed].T], dim=1).cpu().numpy()
    corner = place.flip(1).cpu().numpy().astype(np.float32) * STRIDE
    boxes = np.floor(np.concatenate([corner + 1, corner + WINDOW], axis=1) / np.float32(scale))
    windows = np.concatenate([boxes, rows], axis=1)
    return windows[suppress(boxes, rows[:, 0], 0.5)]


def _refine(
    sums: list[npt.NDArray[np.int32]],
    found: _Candidates,
    rnet: nn.Module,
    threshold: float,
    device: str,
) -> _Candidates:
    """Second stage: look again at each candidate, at 24x24 pixels."""
    found, crops = _cut(sums, found, 24)
    logits, offsets = _run(rnet, crops, device)
    passed = np.flatnonzero(logits[:, 0] > _logit(threshold))
    found, offsets = found[passed], offsets[passed]
    found.scores = _sigmoid(logits[passed, 0])
    kept = _suppress_by_image(found, 0.7)
    found, offsets = found[kept], offsets[kept]
    found.boxes = make_square(refine(found.boxes, offsets, edge=1))
    return found


def _finish(
    sums: list[npt.NDArray[np.int32]],
    found: _Candidates,
    onet: nn.Module,
    threshold: float,
    device: str,
) -> list[Detections]:
    """Third stage: the last word on each candidate, at 48x48 pixels, and its landmarks."""
    found, crops = _cut(sums, found, 48)
    logits, offsets, points = _run(onet, crops, device)
    passed = np.flatnonzero(logits[:, 0] > _logit(threshold))
    found, offsets, points = found[passed], offsets[passed], points[passed]
    found.scores = _sigmoid(logits[passed, 0])
    size = found.boxes[:, 2:] - found.boxes[:, :2] + 1
    landmarks = points.transpose(0, 2, 1) * size[:, None] + found.boxes[:, None, :2] - 1
    found.boxes = refine(found.boxes, offsets, edge=1)

    faces = []
    for index in range(len(sums)):
        mine = np.flatnonzero(found.image == index)
        detections = Detections(found.boxes[mine], found.scores[mine], landmarks[mine])
        kept = suppress(detections.boxes, detections.scores, 0.7, by_smaller=True)
        faces.append(detections[kept])
    return faces


def _cut(
    sums: list[npt.NDArray[np.int32]], found: _Candidates, size: int
) -> tuple[_Candidates, npt.NDArray[np.float32]]:
    """Cut the candidates' crops, (n, size, size, 3); candidates outside their image are dropped."""
    kept, crops = [np.empty(0, np.intp)], [np.empty((0, size, size, 3), np.float32)]
    for index, table in enumerate(sums):
        mine = np.flatnonzero(found.image == index)
        boxes = _pixels(found.boxes[mine], table.shape[0] - 1, table.shape[1] - 1)
        inside = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        kept.append(mine[inside])
        crops.append(crop_area(table, boxes[inside], size))
    return found[np.concatenate(kept)], np.concatenate(crops)


def _pixels(boxes: FloatArray, height: int, width: int) -> npt.NDArray[np.intp]:
    """Return the pixels that boxes cover within the image, x1 y1 x2 y2, ends outside."""
    x1, y1, x2, y2 = np.trunc(boxes).astype(np.intp).T
    x1, y1 = np.maximum(x1, 1) - 1, np.maximum(y1, 1) - 1
    return np.stack([x1, y1, np.minimum(x2, width), np.minimum(y2, height)], axis=1)


def _run(
    network: nn.Module, crops: npt.NDArray[np.float32], device: str
) -> tuple[npt.NDArray[np.float32], ...]:
    """Run `network` on all crops, a batch at a time."""
    starts = range(0, max(len(crops), 1), CROPS)
    outputs = [network(_to_tensor(crops[start : start + CROPS], device)) for start in starts]
    return tuple(torch.cat(parts).cpu().numpy() for parts in zip(*outputs, strict=True))


def _suppress_by_image(found: _Candidates, threshold: float) -> npt.NDArray[np.intp]:
    kept = [np.empty(0, np.intp)]
    for index in np.unique(found.image):
        mine = np.flatnonzero(found.image == index)
        kept.append(mine[suppress(found.boxes[mine], found.scores[mine], threshold)])
    return np.concatenate(kept)


def _to_tensor(pixels: npt.NDArray[np.float32], device: str) -> Tensor:
    """View (n, H, W, 3) as the (n, 3, H, W) of torch, channels last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device)


def _logit(probability: float) -> float:
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-probability))


def _sigmoid(logits: FloatArray) -> FloatArray:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)
