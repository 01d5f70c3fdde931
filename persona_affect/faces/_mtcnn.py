"""The MTCNN cascade: proposals over a pyramid, refinement, and landmarks.

The decisions are those of facenet-pytorch's detector, so that its published weights and thresholds
have the same meaning; all images and candidates are processed together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from .._threads import Share, workers
from ._boxes import FloatArray, make_square, refine, suppress
from ._detections import Detections
from ._detectors import DetectorSpec, register_detector
from ._device_pooling import DeviceTable
from ._mtcnn_networks import FusedPNet, ONet, RNet, load_networks, weights_digest
from ._pooling import IntegralImage
from ._refinement import (
    Candidates,
    finish,
    follow_faces,
    infer,
    join,
    logit,
    on_processor,
    refine_candidates,
    sigmoid,
)

#: Ratio of successive pyramid levels: the area halves.
PYRAMID_FACTOR = 0.709
#: Side and step of the windows of the proposal network, in pixels of a pyramid level.
WINDOW, STRIDE = 12, 2
#: Pixels of the images that are processed together, with 16 bytes each; on a processor, on a GPU.
TOGETHER, DEVICE_TOGETHER = 2**22, 2**25
#: Windows in one pass of the proposal network: 3 MB of intermediate values on a processor.
TILE, DEVICE_TILE = 16384, 2**22

#: Candidates for each face that is allowed, among which too many faces are looked for first.
SAMPLED = 16

Image = npt.NDArray[np.uint8]
#: An image in any size.
WholeTable = IntegralImage | DeviceTable


def make_table(image: Image, device: str) -> WholeTable:
    """Make the table of sums where the networks are."""
    return IntegralImage(image) if on_processor(device) else DeviceTable(image, device)


def detect_faces(
    images: Sequence[Image],
    *,
    min_face_size: float = 20,
    thresholds: Sequence[float] = (0.6, 0.7, 0.7),
    device: str = "cpu",
    max_faces: int | None = None,
) -> list[Detections]:
    """Find all faces in RGB images of any sizes.

    Parameters
    ----------
    images : sequence of uint8 arrays (H, W, 3)
        RGB.
    min_face_size : float, default=20
        Side of the smallest faces that are found, in pixels.
    thresholds : three floats in (0, 1), default=(0.6, 0.7, 0.7)
        Scores above which candidates pass the first, second and third network.
    device : str, default="cpu"
        Device of the networks.
    max_faces : int, optional
        The search may end in an image that is known to have more faces.

    Returns
    -------
    list of Detections
        One for each image. Of an image with more than `max_faces` faces it may be a part, of more
        than `max_faces`.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import detect_faces
    >>> [len(found) for found in detect_faces([np.zeros((40, 40, 3), np.uint8)])]
    [0]
    """
    pnet, rnet, onet = load_networks(device)
    first, second, third = (logit(threshold) for threshold in thresholds)
    faces: list[Detections] = []
    with workers(device) as share:
        for group in _groups(images, TOGETHER if on_processor(device) else DEVICE_TOGETHER):
            tables = list(share(partial(make_table, device=device), group))
            found = _propose(tables, pnet, min_face_size, first, share)

            check = partial(
                _check, tables, rnet=rnet, second=second, onet=onet, third=third, share=share
            )
            crowds, found = _find_crowds(found, check, max_faces)
            faces += [crowds.get(index, own) for index, own in enumerate(check(found))]
    return faces


def _check(
    tables: Sequence[WholeTable],
    found: Candidates,
    *,
    rnet: RNet,
    second: float,
    onet: ONet,
    third: float,
    share: Share,
) -> list[Detections]:
    """Second and third stage: the faces among the candidates."""
    return finish(tables, refine_candidates(tables, found, rnet, second, share), onet, third, share)


def _find_crowds(
    found: Candidates, check: Callable[[Candidates], list[Detections]], max_faces: int | None
) -> tuple[dict[int, Detections], Candidates]:
    """Find images with too many faces by their best candidates; return the others' candidates."""
    crowds: dict[int, Detections] = {}
    if max_faces is None:
        return crowds, found
    enough = SAMPLED * (max_faces + 1)
    for index in np.flatnonzero(np.bincount(found.image) > 2 * enough).tolist():
        own = np.flatnonzero(found.image == index)
        best = own[np.argsort(-found.scores[own], kind="stable")[:enough]]
        faces = check(found[best])[index]
        if len(faces) > max_faces:
            crowds[index] = faces
            found = found[np.flatnonzero(found.image != index)]
    return crowds, found


def _groups(images: Sequence[Image], most: int) -> Iterator[list[Image]]:
    """Split the images so that each group, and its integral images, take little memory."""
    group: list[Image] = []
    n_pixels = 0
    for image in images:
        size = image.shape[0] * image.shape[1]
        if group and n_pixels + size > most:
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


def _plan(images: Sequence[WholeTable], min_face_size: float) -> list[_Tile]:
    """Divide all levels of all images into tiles of similar size.

    Intermediate values then stay in the processor's cache, which decides the speed; small levels of
    several images go together.
    """
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_size[image.height, image.width].append(index)
    tiles = []
    most = DEVICE_TILE if any(isinstance(image, DeviceTable) for image in images) else TILE
    for size, members in by_size.items():
        for scale in pyramid_scales(*size, min_face_size):
            height, width = int(size[0] * scale + 1), int(size[1] * scale + 1)
            # Windows in a column and in a row; partly filled ones at the far edges count.
            n_rows, n_columns = (height - 1) // STRIDE - 4, (width - 1) // STRIDE - 4
            n_together = max(1, most // (n_rows * n_columns))
            step = max(1, most // n_columns)
            for start in range(0, len(members), n_together):
                group = tuple(members[start : start + n_together])
                for first in range(0, n_rows, step):
                    last = min(first + step, n_rows)
                    rows = slice(STRIDE * first, STRIDE * last + WINDOW - STRIDE)
                    columns = STRIDE * n_columns + WINDOW - STRIDE
                    tiles.append(_Tile(group, scale, (height, width), rows, columns))
    return tiles


def _propose(
    images: Sequence[WholeTable],
    pnet: FusedPNet,
    min_face_size: float,
    threshold: float,
    share: Share,
) -> Candidates:
    """First stage: windows over all scales that may hold a face."""

    def scan(tile: _Tile) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Return the image of each window that passes, and its box, score and offsets (n, 9)."""
        height, width = tile.shape
        pixels = [images[i].shrink(height, width, tile.rows, tile.columns) for i in tile.images]
        places, values = infer(
            pnet,
            join([part[None] for part in pixels]),
            threshold,
            tile.rows.stop > height,
            tile.columns > width,
        )
        corners = places[:, :0:-1] * STRIDE + [0, tile.rows.start]
        boxes = np.concatenate([corners + 1, corners + WINDOW], axis=1).astype(np.float32)
        values[:, 0] = sigmoid(values[:, 0])
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

    found = [Candidates.none()]
    for index, parts in sorted(survivors.items()):
        windows = np.concatenate(parts)
        windows = windows[suppress(windows[:, :4], windows[:, 4], 0.7)]
        boxes = make_square(refine(windows[:, :4], windows[:, 5:], edge=0))
        found.append(Candidates(boxes, windows[:, 4], np.full(len(windows), index)))
    return Candidates.join(found)


register_detector(
    DetectorSpec(
        "mtcnn",
        detect_faces,
        digest=weights_digest,
        follow=follow_faces,
        license="MIT",
        takes_max_faces=True,
    )
)
