import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from persona_affect.faces import detect_faces
from persona_affect.faces._boxes import make_square, refine, suppress
from persona_affect.faces._mtcnn import pyramid_scales
from persona_affect.faces._mtcnn_networks import ONet, PNet, RNet, _read_weights

REFERENCE = json.loads((Path(__file__).parent / "mtcnn_reference.json").read_text())


class PlainMTCNN:
    """The published cascade in plain steps: whole levels, one crop at a time, torch's resizing."""

    def __init__(self):
        self.networks = PNet().eval(), RNet().eval(), ONet().eval()
        for name, network in zip("pro", self.networks, strict=True):
            network.load_state_dict(_read_weights(f"{name}net.pt"))

    def crops(self, pixels, boxes, size):
        height, width = pixels.shape[2:]
        crops = []
        for x1, y1, x2, y2 in np.trunc(boxes).astype(int):
            part = pixels[:, :, max(y1, 1) - 1 : min(y2, height), max(x1, 1) - 1 : min(x2, width)]
            crops.append(F.interpolate(part, size=(size, size), mode="area"))
        return (torch.cat(crops) - 127.5) / 128

    @torch.no_grad()
    def __call__(self, image):
        pnet, rnet, onet = self.networks
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        height, width = image.shape[:2]
        found = []
        for scale in pyramid_scales(height, width, 20):
            size = int(height * scale + 1), int(width * scale + 1)
            output = pnet((F.interpolate(pixels, size=size, mode="area") - 127.5) / 128)[0].numpy()
            score = 1 / (1 + np.exp(-output[0]))
            y, x = np.nonzero(score >= 0.6)
            corners = np.stack([2 * x + 1, 2 * y + 1, 2 * x + 12, 2 * y + 12], axis=1)
            boxes = np.floor(corners.astype(np.float32) / np.float32(scale))
            rows = np.concatenate([boxes, score[y, x, None], output[1:, y, x].T], axis=1)
            found.append(rows[suppress(boxes, score[y, x], 0.5)])
        rows = np.concatenate(found)
        rows = rows[suppress(rows[:, :4], rows[:, 4], 0.7)]
        boxes = make_square(refine(rows[:, :4], rows[:, 5:], edge=0))

        logits, offsets = (part.numpy() for part in rnet(self.crops(pixels, boxes, 24)))
        score = 1 / (1 + np.exp(-logits[:, 0]))
        boxes, offsets, score = (part[score > 0.7] for part in (boxes, offsets, score))
        kept = suppress(boxes, score, 0.7)
        boxes = make_square(refine(boxes[kept], offsets[kept], edge=1))

        logits, offsets, points = (part.numpy() for part in onet(self.crops(pixels, boxes, 48)))
        score = 1 / (1 + np.exp(-logits[:, 0]))
        boxes, offsets, points, score = (p[score > 0.7] for p in (boxes, offsets, points, score))
        size = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        landmarks = boxes[:, None, :2] + points.transpose(0, 2, 1) * size - 1
        boxes = refine(boxes, offsets, edge=1)
        kept = suppress(boxes, score, 0.7, by_smaller=True)
        return boxes[kept], score[kept], landmarks[kept]


def test_same_faces_as_the_plain_cascade(drawn_faces, group_photo):
    plain = PlainMTCNN()
    for photo in [group_photo, *drawn_faces[:3]]:
        boxes, scores, landmarks = plain(photo)
        (found,) = detect_faces([photo])
        assert len(found) == len(boxes) > 0
        np.testing.assert_allclose(found.boxes, boxes, atol=0.01)
        np.testing.assert_allclose(found.scores, scores, atol=1e-4)
        np.testing.assert_allclose(found.landmarks, landmarks, atol=0.01)


def overlap(a, b):
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


@pytest.fixture(scope="module")
def real_photos(scenes):
    photos = scenes.real_scenes()
    if "grid 0" not in photos:
        pytest.skip("PERSONA_AFFECT_DATA is unset: no photos of real faces to compare on")
    return photos


@pytest.mark.parametrize("name", REFERENCE)
def test_same_faces_as_facenet_pytorch(name, real_photos):
    """`benchmarks/faces.py --write-reference` made the file in facenet-pytorch's environment."""
    if name not in real_photos:
        pytest.skip("scikit-image is not installed: no photo of an astronaut")
    reference = REFERENCE[name]
    (found,) = detect_faces([real_photos[name]])
    assert len(found) == len(reference["boxes"])
    for box, points in zip(reference["boxes"], reference["landmarks"], strict=True):
        box = np.array(box)
        best = max(range(len(found)), key=lambda i: overlap(found.boxes[i], box))
        assert overlap(found.boxes[best], box) >= 0.9
        error = np.abs(found.landmarks[best] - points).max()
        assert error <= 0.02 * (box[2:] - box[:2]).max()


def test_a_batch_of_any_sizes_equals_photo_by_photo(drawn_faces, group_photo, faceless):
    photos = [*drawn_faces[:4], group_photo, faceless, drawn_faces[4][:150, 3:], faceless[:5, :7]]
    together = detect_faces(photos)
    assert len(together) == len(photos)
    assert len(together[5]) == len(together[7]) == 0
    for photo, faces in zip(photos, together, strict=True):
        (alone,) = detect_faces([photo])
        np.testing.assert_allclose(faces.boxes, alone.boxes, atol=1e-2)
        np.testing.assert_allclose(faces.landmarks, alone.landmarks, atol=1e-2)


def test_most_confident_first(group_photo):
    (faces,) = detect_faces([group_photo])
    assert len(faces) >= 5
    assert (np.diff(faces.scores) <= 0).all()
    assert faces.boxes.shape == (len(faces), 4)
    assert faces.landmarks.shape == (len(faces), 5, 2)
    eyes, mouth = faces.landmarks[:, :2, 1].mean(axis=1), faces.landmarks[:, 3:, 1].mean(axis=1)
    assert (eyes < mouth).all()


def test_larger_smallest_face_finds_no_small_ones(group_photo):
    (large,) = detect_faces([group_photo], min_face_size=120)
    (everyone,) = detect_faces([group_photo])
    assert 0 < len(large) < len(everyone)
    smallest = [(f.boxes[:, 2:] - f.boxes[:, :2]).max(axis=1).min() for f in (large, everyone)]
    assert smallest[0] > smallest[1]


def test_fifty_faces(scenes, drawn_faces):
    photo = scenes.collage(list(drawn_faces), 50, (900, 1600), seed=1)
    (faces,) = detect_faces([photo])
    assert len(faces) >= 45


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (19, 19), (20, 20), (21, 400)])
def test_tiny_photos(shape):
    (faces,) = detect_faces([np.zeros((*shape, 3), np.uint8)])
    assert len(faces) == 0


def test_no_photos():
    assert detect_faces([]) == []


def test_the_global_random_state_is_untouched(faceless):
    before = torch.get_rng_state()
    detect_faces([faceless])
    assert torch.equal(torch.get_rng_state(), before)
