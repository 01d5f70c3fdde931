"""The second and the third network of MTCNN, which check candidates and find their landmarks.

Candidates come from the first network, from another detector, or from the frame before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .._threads import Share, workers
from ._boxes import FloatArray, make_square, refine, suppress
from ._detections import Detections
from ._device_pooling import DeviceTable
from ._mtcnn_networks import ONet, RNet, load_networks
from ._pooling import IntegralImage, LocalImage

Image = npt.NDArray[np.uint8]
#: Where candidates are cut out.
Table = IntegralImage | LocalImage | DeviceTable
#: Candidates that pass a network together on a GPU.
DEVICE_BATCH = 4096


@dataclass
class Candidates:
    """Candidate boxes of all images, sorted by image."""

    boxes: FloatArray
    scores: FloatArray
    image: npt.NDArray[np.intp]

    def __getitem__(self, keep: npt.NDArray[np.intp]) -> Candidates:
        return Candidates(self.boxes[keep], self.scores[keep], self.image[keep])

    @classmethod
    def none(cls) -> Candidates:
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.intp))

    @classmethod
    def join(cls, parts: list[Candidates]) -> Candidates:
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.image for part in parts]),
        )


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
        RGB.
    boxes : sequence of arrays (n, 4)
        For each image, the boxes of faces in the frame before.
    thresholds, device
        As for :func:`detect_faces`; the first threshold is not used.

    Returns
    -------
    list of Detections
        One for each image.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import follow_faces
    >>> frame, before = np.zeros((64, 64, 3), np.uint8), np.array([[10.0, 10.0, 50.0, 50.0]])
    >>> [len(found) for found in follow_faces([frame], [before])]  # it is gone
    [0]
    """
    if not images:
        return []
    _, rnet, onet = load_networks(device)
    candidates = Candidates(
        make_square(np.concatenate(boxes).astype(np.float32)),
        np.ones(sum(map(len, boxes)), np.float32),
        np.repeat(np.arange(len(images)), [len(b) for b in boxes]),
    )
    with workers(device) as share:
        tables = [
            LocalImage(image) if on_processor(device) else DeviceTable(image, device)
            for image in images
        ]
        found = refine_candidates(tables, candidates, rnet, logit(thresholds[1]), share)
        return finish(tables, found, onet, logit(thresholds[2]), share)


def refine_candidates(
    images: Sequence[Table],
    found: Candidates,
    rnet: RNet,
    threshold: float,
    share: Share,
) -> Candidates:
    """Second stage: check each candidate at 24x24 pixels."""
    found, (logits, offsets) = _examine(images, found, rnet, share)
    passed = np.flatnonzero(logits[:, 0] > threshold)
    found, offsets = found[passed], offsets[passed]
    found.scores = sigmoid(logits[passed, 0])
    kept = [np.empty(0, np.intp)]
    for index in np.unique(found.image):
        mine = np.flatnonzero(found.image == index)
        kept.append(mine[suppress(found.boxes[mine], found.scores[mine], 0.7)])
    order = np.concatenate(kept)
    found, offsets = found[order], offsets[order]
    found.boxes = make_square(refine(found.boxes, offsets, edge=1))
    return found


def finish(
    images: Sequence[Table],
    found: Candidates,
    onet: ONet,
    threshold: float,
    share: Share,
) -> list[Detections]:
    """Third stage: the final check of each candidate at 48x48 pixels, and its landmarks."""
    found, (logits, offsets, points) = _examine(images, found, onet, share)
    passed = np.flatnonzero(logits[:, 0] > threshold)
    found, offsets, points = found[passed], offsets[passed], points[passed]
    found.scores = sigmoid(logits[passed, 0])
    size = found.boxes[:, 2:] - found.boxes[:, :2] + 1
    landmarks = points.transpose(0, 2, 1) * size[:, None] + found.boxes[:, None, :2] - 1
    found.boxes = refine(found.boxes, offsets, edge=1)

    faces = []
    for index in range(len(images)):
        mine = np.flatnonzero(found.image == index)
        faces.append(_suppress(Detections(found.boxes[mine], found.scores[mine], landmarks[mine])))
    return faces


def merge_faces(one: Detections, other: Detections) -> Detections:
    """Join the faces that were found in one image by two searches."""
    parts = [(faces.boxes, faces.scores, faces.landmarks) for faces in (other, one)]
    return _suppress(Detections(*map(np.concatenate, zip(*parts, strict=True))))


def _suppress(faces: Detections) -> Detections:
    """Keep the most confident one of faces that overlap, the later one of equals."""
    return faces[suppress(faces.boxes, faces.scores, 0.7, by_smaller=True)]


def _examine(
    images: Sequence[Table],
    found: Candidates,
    network: RNet | ONet,
    share: Share,
) -> tuple[Candidates, list[FloatArray]]:
    """Crop the candidates that are at least partly inside their image, and run `network`."""
    size, batch = network.side, network.batch
    if isinstance(images[0], DeviceTable):
        batch = DEVICE_BATCH
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
        return infer(network, join(crops or [np.empty((0, size, size, 3), np.float32)]))

    results = share(look, range(0, max(len(found.boxes), 1), batch))
    return found, [np.concatenate(parts) for parts in zip(*results, strict=True)]


def infer(
    network: nn.Module, pixels: FloatArray | Tensor, *arguments: float | bool
) -> tuple[npt.NDArray[Any], ...]:
    """Run `network` on pixels (n, H, W, 3), and return its outputs as arrays."""
    with torch.inference_mode():
        # (n, 3, H, W) to torch, channels last in memory.
        device = next(network.parameters()).device
        outputs = network(torch.as_tensor(pixels).permute(0, 3, 1, 2).to(device), *arguments)
        return tuple(output.cpu().numpy() for output in outputs)


def join(parts: Sequence[FloatArray | Tensor]) -> FloatArray | Tensor:
    """Concatenate arrays, or tensors where they are."""
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)  # type: ignore[arg-type]
    return np.concatenate(parts)


def on_processor(device: str) -> bool:
    return torch.device(device).type == "cpu"


def logit(probability: float) -> float:
    return float(np.log(probability) - np.log1p(-probability))


def sigmoid(logits: FloatArray) -> FloatArray:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)
