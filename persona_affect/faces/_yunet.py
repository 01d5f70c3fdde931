"""Faces proposed by YuNet on a smaller copy of the image, and refined by MTCNN on the image.

YuNet looks at an image once, where MTCNN's first network looks at a dozen sizes of it. The other
two networks of MTCNN then decide which proposals are faces, and find the landmarks: these, and so
aligned faces, differ no more from those of the whole cascade than the cascade's own differ with
another smallest size. The combination, and its numbers, are ours (`benchmarks/results/faces.md`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
import torch

from .._threads import workers
from ._boxes import FloatArray, suppress
from ._detections import Detections
from ._detectors import DetectorSpec, register_detector
from ._mtcnn_networks import weights_digest
from ._refinement import follow_faces, merge_faces, on_processor
from ._yunet_network import BOX, CLASS, STRIDES, THERE, YuNet, load_yunet, yunet_digest

Image = npt.NDArray[np.uint8]

#: Increase it with each change that alters what is found.
VERSION = 3
#: Side that the smallest face looked for has in the first copy, and the longest side under which an
#: image is not made smaller.
FIRST, SMALL_IMAGE = 7.0, 192
#: A face of a side below this in the copy suggests smaller ones: a copy with twice the sides is
#: then looked at, too.
SUSPECT = 20.0
#: The score that a proposal needs. Most with a low score are no faces, which MTCNN's networks see.
SCORE = 0.1
#: Overlap above which the weaker of two proposals is dropped.
OVERLAP = 0.3
#: An edge of the image may cut off a face that comes closer to it than this share of its side. The
#: place of a candidate then decides whether MTCNN's networks find the face, so that these scales
#: and shifts are looked at, too, if no face was found there.
EDGE, SCALES, SHIFTS = 0.1, (0.8, 1.0, 1.25), (-0.2, 0.0, 0.2)
#: Sides of a copy are multiples of this.
MULTIPLE = 32
#: Copies of one size that pass the network together on a GPU, and their pixels on a processor, for
#: its caches.
TOGETHER, PIXELS_TOGETHER = 16, 160_000


def detect_with_yunet(
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
        RGB.
    min_face_size : float, default=20
        Side of the smallest faces looked for, in pixels. Those of less than twice this may be
        missed where there is no other small face.
    thresholds, device
        As for :func:`detect_faces`; the first threshold is not used.

    Returns
    -------
    list of Detections
        One for each image.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import detect_with_yunet
    >>> [len(found) for found in detect_with_yunet([np.zeros((64, 64, 3), np.uint8)])]
    [0]
    """
    check = partial(follow_faces, thresholds=thresholds, device=device)
    scales = [_first_scale(image, min_face_size) for image in images]
    boxes = _propose(images, scales, device)
    found = check(images, boxes)
    small = [i for i in range(len(images)) if scales[i] < 1 and _has_small(found[i], scales[i])]
    finer = _propose([images[i] for i in small], [min(1.0, 2 * scales[i]) for i in small], device)
    _add_faces(found, images, dict(zip(small, finer, strict=True)), check)
    for i, more in zip(small, finer, strict=True):
        boxes[i] = np.concatenate([boxes[i], more])
    cut = {
        i: vary_at_edges(_without_faces(boxes[i], found[i]), *image.shape[:2])
        for i, image in enumerate(images)
    }
    _add_faces(found, images, cut, check)
    return found


def _add_faces(
    found: list[Detections],
    images: Sequence[Image],
    candidates: Mapping[int, FloatArray],
    check: Callable[..., list[Detections]],
) -> None:
    """Add the faces among further candidates, by image, to those that were `found`."""
    new = {i: _without_faces(boxes, found[i]) for i, boxes in candidates.items()}
    new = {i: boxes for i, boxes in new.items() if len(boxes)}
    for i, more in zip(new, check([images[i] for i in new], list(new.values())), strict=True):
        found[i] = merge_faces(found[i], more)


def _without_faces(boxes: FloatArray, faces: Detections) -> FloatArray:
    """Return the boxes that are not those of faces."""
    low = np.maximum(boxes[:, np.newaxis, :2], faces.boxes[:, :2])
    high = np.minimum(boxes[:, np.newaxis, 2:], faces.boxes[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    areas, others = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, faces.boxes))
    union = areas[:, np.newaxis] + others - shared
    return boxes[(shared <= OVERLAP * union).all(axis=1)]


def look_again(
    copies: Sequence[Image],
    boxes: Sequence[npt.NDArray[np.floating]],
    *,
    min_face_size: float,
    thresholds: Sequence[float],
    device: str,
) -> list[Detections]:
    """Find the face of each upright copy near its box: YuNet need not find it again."""
    return follow_faces(copies, boxes, thresholds=thresholds, device=device)


def _first_scale(image: Image, min_face_size: float) -> float:
    least = SMALL_IMAGE / max(image.shape[:2])
    return min(1.0, max(FIRST / min_face_size, least))


def _has_small(faces: Detections, scale: float) -> bool:
    sides = np.ptp(faces.boxes.reshape(-1, 2, 2), axis=1).max(axis=1)
    return bool((sides * scale < SUSPECT).any())


def _propose(
    images: Sequence[Image], scales: Sequence[float], device: str
) -> list[npt.NDArray[np.float32]]:
    """Return boxes (n, 4) of each image that may hold a face, in its pixels."""
    network = load_yunet(device)
    boxes: list[FloatArray] = [np.empty((0, 4), np.float32) for _ in images]
    with workers(device) as share:
        copies = list(share(lambda pair: _copy(*pair), zip(images, scales, strict=True)))
        groups = _group([copy.shape for copy in copies], device)
        looks = share(lambda group: _look([copies[i] for i in group], network), groups)
        for group, outputs in zip(groups, looks, strict=True):
            for i, cells in zip(group, outputs, strict=True):
                boxes[i] = _read_boxes(cells, images[i].shape, scales[i])
    return boxes


def _copy(image: Image, scale: float) -> Image:
    """Return a smaller copy with sides that YuNet takes, black at the right and at the bottom."""
    height, width = _copy_size(image.shape, scale)
    small = shrink(image, height, width)
    return np.pad(small, ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)))


def _copy_size(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _group(shapes: Sequence[tuple[int, ...]], device: str) -> list[list[int]]:
    """Divide copies into groups of one size that pass the network together."""
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, shape in enumerate(shapes):
        by_shape[shape].append(i)
    groups = []
    for (height, width, _), members in by_shape.items():
        most = TOGETHER
        if on_processor(device):
            # Each thread should have some. Copies of one cell would be rounded as others are.
            alone = height * width <= MULTIPLE**2
            share = 1 if alone else -(-len(members) // torch.get_num_threads())
            most = max(min(PIXELS_TOGETHER // (height * width), share), 1)
        groups += [members[i : i + most] for i in range(0, len(members), most)]
    return groups


def _look(copies: Sequence[Image], network: YuNet) -> list[list[FloatArray]]:
    """Return the cells (h, w, 16) of each copy, for each stride."""
    with torch.inference_mode():
        pixels = torch.from_numpy(np.stack(copies)).to(network.stem.weight.device)
        outputs = network(pixels.permute(0, 3, 1, 2))
        cells = [output.permute(0, 2, 3, 1).cpu().numpy() for output in outputs]
    return [list(own) for own in zip(*cells, strict=True)]


def _read_boxes(cells: Sequence[FloatArray], shape: tuple[int, ...], scale: float) -> FloatArray:
    parts = [decode(own, stride) for own, stride in zip(cells, STRIDES, strict=True)]
    boxes, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    boxes = boxes[suppress(boxes, scores, OVERLAP)]
    height, width = shape[:2]
    h, w = _copy_size(shape, scale)
    return boxes * np.tile(np.array([width / w, height / h], np.float32), 2)


def vary_at_edges(boxes: FloatArray, height: int, width: int) -> FloatArray:
    """Return squares around the boxes (n, 4) that an edge of the image may cut off."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    rooms = [boxes[:, :2], np.array([width, height]) - boxes[:, 2:]]
    at_edge = (np.concatenate(rooms, axis=1) < EDGE * sides).any(axis=1)
    sides = sides[at_edge]
    centres = (boxes[at_edge, :2] + boxes[at_edge, 2:]) / 2
    squares = [np.empty((0, 4), np.float32)]
    for scale, *shift in product(SCALES, SHIFTS, SHIFTS):
        moved = centres + sides * np.array(shift, np.float32)
        half = sides * np.float32(scale / 2)
        squares.append(np.concatenate([moved - half, moved + half], axis=1))
    return np.concatenate(squares)


def shrink(image: Image, height: int, width: int) -> Image:
    """Resize an image to a smaller size, in much less time than averaging over areas takes."""
    while image.shape[:2] != (height, width):
        # To half the size or more, bilinear sampling skips no pixel.
        size = max(width, image.shape[1] // 2), max(height, image.shape[0] // 2)
        small = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        image = small.astype(np.uint8, copy=False)
    return image


def decode(cells: FloatArray, stride: int) -> tuple[FloatArray, FloatArray]:
    """Return the boxes (n, 4) and scores of the cells (h, w, 16) that may be faces."""
    logits = np.concatenate([cells[..., CLASS], cells[..., THERE]], axis=2)
    # The geometric mean of both probabilities.
    scores = np.exp(-0.5 * np.logaddexp(0, -logits).sum(axis=2)).astype(np.float32)
    rows, columns = np.nonzero(scores > SCORE)
    box = cells[rows, columns, BOX]
    centre = box[:, :2] + np.stack([columns, rows], axis=1).astype(np.float32)
    half = np.exp(box[:, 2:]) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1) * np.float32(stride)
    return boxes, scores[rows, columns]


def _digest() -> str:
    text = f"yunet {VERSION} {yunet_digest()} {weights_digest()}"
    return hashlib.sha256(text.encode()).hexdigest()


register_detector(
    DetectorSpec(
        "yunet",
        detect_with_yunet,
        digest=_digest,
        follow=follow_faces,
        look_again=look_again,
        license="MIT",
    )
)
