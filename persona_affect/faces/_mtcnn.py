"""The MTCNN cascade: proposals over a pyramid, refinement, and landmarks.

The decisions are those of facenet-pytorch's detector, so that its published weights and thresholds
have the same meaning; all images and candidates are processed together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .._threads import Share, workers
from ._boxes import FloatArray, make_square, refine, suppress
from ._detections import Detections
from ._mtcnn_networks import FusedPNet, ONet, RNet, load_networks
from ._pooling import IntegralImage

#: Ratio of successive pyramid levels: the area halves.
PYRAMID_FACTOR = 0.709
#: Side and step of the windows of the proposal network, in pixels of a pyramid level.
WINDOW, STRIDE = 12, 2
#: Pixels of the images that are processed together, with 16 bytes each.
TOGETHER = 2**22
#: Windows in one pass of the proposal network; 3 MB of intermediate values.
TILE = 16384

Image = npt.NDArray[np.uint8]


@dataclass
class _Candidates:
    """Candidate boxes of all images, sorted by image."""

    boxes: FloatArray
    scores: FloatArray
    image: npt.NDArray[np.intp]

    def __getitem__(self, keep: npt.NDArray[np.intp]) -> _Candidates:
        return _Candidates(self.boxes[keep], self.scores[keep], self.image[keep])

    @classmethod
    def none(cls) -> _Candidates:
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.intp))

    @classmethod
    def join(cls, parts: list[_Candidates]) -> _Candidates:
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.image for part in parts]),
        )


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
        Side of the smallest faces that are found, in pixels.
    thresholds : three floats in (0, 1), default=(0.6, 0.7, 0.7)
        Scores above which candidates pass the first, second and third network.
    device : str, default="cpu"
        Device of the networks.

    Returns
    -------
    list of Detections
        One for each image.
    """
    pnet, rnet, onet = load_networks(device)
    first, second, third = (_logit(threshold) for threshold in thresholds)
    faces: list[Detections] = []
    with workers(device) as share:
        for group in _groups(images):
            tables = list(share(IntegralImage, group))
            found = _propose(tables, pnet, min_face_size, first, share)
            found = _refine(tables, found, rnet, second, share)
            faces += _finish(tables, found, onet, third, share)
    return faces


def follow_faces(
    images: Sequence[Image],
    boxes: Sequence[npt.NDArray[np.floating]],
    *,
    thresholds: Sequence[float] = (0.6, 0.7, 0.7),
    device: str = "cpu",
) -> list[Detections]:
    """Find faces again at known places, with only the second and third network.

    A face that has moved by less than about a quarter of its size is found again, at a small
    fraction of the cost; new faces are not found.

    Parameters
    ----------
    images : sequence of uint8 arrays (H, W, 3)
    boxes : sequence of arrays (n, 4)
        For each image, the boxes of faces in the frame before.
    thresholds, device
        As for :func:`detect_faces`; the first threshold is not used.

    Returns
    -------
    list of Detections
        One for each image.
    """
    _, rnet, onet = load_networks(device)
    candidates = _Candidates(
        make_square(np.concatenate(boxes).astype(np.float32)),
        np.ones(sum(map(len, boxes)), np.float32),
        np.repeat(np.arange(len(images)), [len(b) for b in boxes]),
    )
    with workers(device) as share:
        tables = list(share(IntegralImage, images))
        found = _refine(tables, candidates, rnet, _logit(thresholds[1]), share)
        return _finish(tables, found, onet, _logit(thresholds[2]), share)


def _groups(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Split the images so that each group, and its integral images, take little memory."""
    group: list[Image] = []
    n_pixels = 0
    for image in images:
        size = image.shape[0] * image.shape[1]
        if group and n_pixels + size > TOGETHER:
            yield group
            group, n_pixels = [], 0
        group.append(image)
        n_pixels += size
    if group:
        yield group


def pyramid_scales(height: int, width: int, min_face_size: float) -> list[float]:
    """Return the scales at which faces from `min_face_size` to the image's side fit a window."""
    scale = WINDOW / min_face_size
    scales = []
    while min(height, width) * scale >= WINDOW:
        scales.append(scale)
        scale *= PYRAMID_FACTOR
    return scales


@dataclass(frozen=True)
class _Tile:
    """Some rows of one pyramid level of some images of one size: a piece of work for P-Net."""

    images: tuple[int, ...]
    scale: float
    shape: tuple[int, int]
    rows: slice
    columns: int


def _plan(images: list[IntegralImage], min_face_size: float) -> list[_Tile]:
    """Divide all levels of all images into tiles of similar size.

    Intermediate values then stay in the processor's cache, which decides the speed; small levels of
    several images go together.
    """
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_size[image.height, image.width].append(index)
    tiles = []
    for size, members in by_size.items():
        for scale in pyramid_scales(*size, min_face_size):
            height, width = int(size[0] * scale + 1), int(size[1] * scale + 1)
            # Windows in a column and in a row; partly filled ones at the far edges count.
            n_rows, n_columns = (height - 1) // STRIDE - 4, (width - 1) // STRIDE - 4
            n_together = max(1, TILE // (n_rows * n_columns))
            step = max(1, TILE // n_columns)
            for start in range(0, len(members), n_together):
                group = tuple(members[start : start + n_together])
                for first in range(0, n_rows, step):
                    last = min(first + step, n_rows)
                    rows = slice(STRIDE * first, STRIDE * last + WINDOW - STRIDE)
                    columns = STRIDE * n_columns + WINDOW - STRIDE
                    tiles.append(_Tile(group, scale, (height, width), rows, columns))
    return tiles


def _propose(
    images: list[IntegralImage],
    pnet: FusedPNet,
    min_face_size: float,
    threshold: float,
    share: Share,
) -> _Candidates:
    """First stage: windows over all scales that may hold a face."""

    def scan(tile: _Tile) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Return the image of each window that passes, and its box, score and offsets (n, 9)."""
        height, width = tile.shape
        pixels = [images[i].shrink(height, width, tile.rows, tile.columns) for i in tile.images]
        places, values = _infer(
            pnet, np.stack(pixels), threshold, tile.rows.stop > height, tile.columns > width
        )
        corners = places[:, :0:-1] * STRIDE + [0, tile.rows.start]
        boxes = np.concatenate([corners + 1, corners + WINDOW], axis=1).astype(np.float32)
        values[:, 0] = _sigmoid(values[:, 0])
        boxes = np.floor(boxes / np.float32(tile.scale))
        return np.array(tile.images)[places[:, 0]], np.concatenate([boxes, values], axis=1)

    # The windows of each level of each image, and then of each image.
    levels: dict[tuple[int, float], list[FloatArray]] = defaultdict(list)
    tiles = _plan(images, min_face_size)
    for tile, (owner, windows) in zip(tiles, share(scan, tiles), strict=True):
        for index in np.unique(owner):
            levels[index, tile.scale].append(windows[owner == index])
    survivors: dict[int, list[FloatArray]] = defaultdict(list)
    for (index, _), parts in levels.items():
        windows = np.concatenate(parts)
        survivors[index].append(windows[suppress(windows[:, :4], windows[:, 4], 0.5)])

    found = [_Candidates.none()]
    for index, parts in sorted(survivors.items()):
        windows = np.concatenate(parts)
        windows = windows[suppress(windows[:, :4], windows[:, 4], 0.7)]
        boxes = make_square(refine(windows[:, :4], windows[:, 5:], edge=0))
        found.append(_Candidates(boxes, windows[:, 4], np.full(len(windows), index)))
    return _Candidates.join(found)


def _refine(
    images: list[IntegralImage],
    found: _Candidates,
    rnet: RNet,
    threshold: float,
    share: Share,
) -> _Candidates:
    """Second stage: check each candidate at 24x24 pixels."""
    found, (logits, offsets) = _examine(images, found, rnet, share)
    passed = np.flatnonzero(logits[:, 0] > threshold)
    found, offsets = found[passed], offsets[passed]
    found.scores = _sigmoid(logits[passed, 0])
    kept = [np.empty(0, np.intp)]
    for index in np.unique(found.image):
        mine = np.flatnonzero(found.image == index)
        kept.append(mine[suppress(found.boxes[mine], found.scores[mine], 0.7)])
    order = np.concatenate(kept)
    found, offsets = found[order], offsets[order]
    found.boxes = make_square(refine(found.boxes, offsets, edge=1))
    return found


def _finish(
    images: list[IntegralImage],
    found: _Candidates,
    onet: ONet,
    threshold: float,
    share: Share,
) -> list[Detections]:
    """Third stage: the final check of each candidate at 48x48 pixels, and its landmarks."""
    found, (logits, offsets, points) = _examine(images, found, onet, share)
    passed = np.flatnonzero(logits[:, 0] > threshold)
    found, offsets, points = found[passed], offsets[passed], points[passed]
    found.scores = _sigmoid(logits[passed, 0])
    size = found.boxes[:, 2:] - found.boxes[:, :2] + 1
    landmarks = points.transpose(0, 2, 1) * size[:, None] + found.boxes[:, None, :2] - 1
    found.boxes = refine(found.boxes, offsets, edge=1)

    faces = []
    for index in range(len(images)):
        mine = np.flatnonzero(found.image == index)
        detections = Detections(found.boxes[mine], found.scores[mine], landmarks[mine])
        kept = suppress(detections.boxes, detections.scores, 0.7, by_smaller=True)
        faces.append(detections[kept])
    return faces


def _examine(
    images: list[IntegralImage],
    found: _Candidates,
    network: RNet | ONet,
    share: Share,
) -> tuple[_Candidates, list[FloatArray]]:
    """Crop the candidates that are at least partly inside their image, and run `network`."""
    size, batch = network.side, network.batch
    bounds = np.array([[image.width, image.height] for image in images])[found.image]
    pixels = np.trunc(found.boxes).astype(np.intp)
    pixels[:, :2] = np.maximum(pixels[:, :2], 1) - 1
    pixels[:, 2:] = np.minimum(pixels[:, 2:], bounds)
    inside = np.flatnonzero((pixels[:, :2] < pixels[:, 2:]).all(axis=1))
    found, pixels = found[inside], pixels[inside]

    def look(start: int) -> tuple[npt.NDArray[Any], ...]:
        owner = found.image[start : start + batch]
        boxes = pixels[start : start + batch]
        # Candidates are sorted by image.
        crops = [images[i].crop(boxes[owner == i], size) for i in np.unique(owner)]
        crops.append(np.empty((0, size, size, 3), np.float32))
        return _infer(network, np.concatenate(crops))

    results = share(look, range(0, max(len(found.boxes), 1), batch))
    return found, [np.concatenate(parts) for parts in zip(*results, strict=True)]


def _infer(
    network: nn.Module, pixels: FloatArray, *arguments: float | bool
) -> tuple[npt.NDArray[Any], ...]:
    """Run `network` on pixels (n, H, W, 3), and return its outputs as arrays."""
    with torch.inference_mode():
        # (n, 3, H, W) to torch, channels last in memory.
        device = next(network.parameters()).device
        outputs = network(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device), *arguments)
        return tuple(output.cpu().numpy() for output in outputs)


def _logit(probability: float) -> float:
    return float(np.log(probability) - np.log1p(-probability))


def _sigmoid(logits: FloatArray) -> FloatArray:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)
