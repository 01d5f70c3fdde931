"""What every registered detector must do, and what is YuNet's own."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, JointAffectEstimator, load_model, save_model
from persona_affect.datasets import make_affect_faces
from persona_affect.exceptions import MissingDependencyError, WeightsError
from persona_affect.faces import (
    DETECTORS,
    Detections,
    DetectorSpec,
    detect_faces,
    detect_with_yunet,
    get_detector_spec,
    register_detector,
)
from persona_affect.faces import _detectors as registry
from persona_affect.faces import _mtcnn as mtcnn
from persona_affect.faces import _refinement as refinement
from persona_affect.faces import _yunet as yunet
from persona_affect.faces import _yunet_network as network
from persona_affect.faces._pooling import IntegralImage, LocalImage
from persona_affect.persistence import read_model_info

REFERENCE = json.loads((Path(__file__).parent / "yunet_reference.json").read_text())
#: Those of this package: examples in docstrings register others.
OWN = [name for name, spec in DETECTORS.items() if spec.package.startswith("persona_affect.")]


def match(found, others):
    """Return the index of the face in `others` at IoU 0.7, for each face found."""
    partners = []
    for box in found.boxes:
        low = np.maximum(box[:2], others.boxes[:, :2])
        high = np.minimum(box[2:], others.boxes[:, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        areas = (others.boxes[:, 2:] - others.boxes[:, :2]).prod(axis=1)
        overlap = shared / ((box[2:] - box[:2]).prod() + areas - shared)
        partners.append(int(overlap.argmax()) if overlap.max(initial=0) >= 0.7 else None)
    return partners


@pytest.fixture(scope="module", params=OWN)
def aligner(request):
    return FaceAligner(detector=request.param, device="cpu")


def assert_equal(found, expected):
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.landmarks, expected.landmarks)


class TestEveryDetector:
    def test_finds_the_faces_of_a_photo_and_leaves_it_alone(self, aligner, group_photo):
        photo = group_photo.copy()
        (found,) = aligner.detect_frames([photo])
        np.testing.assert_array_equal(photo, group_photo)
        assert len(found) == 6
        assert found.boxes.shape == (6, 4)
        assert found.landmarks.shape == (6, 5, 2)
        assert {a.dtype for a in (found.boxes, found.scores, found.landmarks)} == {
            np.dtype(np.float32)
        }
        assert ((found.scores > 0) & (found.scores <= 1)).all()
        assert (np.diff(found.scores) <= 0).all()
        low, high = found.boxes[:, None, :2], found.boxes[:, None, 2:]
        assert ((low < found.landmarks) & (found.landmarks < high)).all()
        left_eye, right_eye, nose, left_mouth, _ = found.landmarks.transpose(1, 0, 2)
        assert (left_eye[:, 0] < right_eye[:, 0]).all()
        assert (left_eye[:, 1] < nose[:, 1]).all()
        assert (nose[:, 1] < left_mouth[:, 1]).all()

    def test_the_same_alone_and_together(self, aligner, group_photo, drawn_faces):
        photos = [drawn_faces[0], group_photo, drawn_faces[1][:101, :99], drawn_faces[2]]
        for photo, found in zip(photos, aligner.detect_frames(photos), strict=True):
            (alone,) = aligner.detect_frames([photo])
            np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-3)
            np.testing.assert_allclose(found.landmarks, alone.landmarks, atol=1e-3)

    def test_the_same_to_the_bit_in_several_threads(self, aligner, group_photo, drawn_faces):
        photos = [group_photo, drawn_faces[0], drawn_faces[1][:99], drawn_faces[2]] * 2
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda photo: aligner.detect_frames([photo])[0], photos))
        for one, photo in zip(found, photos, strict=True):
            assert_equal(one, aligner.detect_frames([photo])[0])

    def test_no_image_and_images_without_a_face(self, aligner, faceless):
        assert aligner.detect_frames([]) == []
        assert aligner.follow_frames([], []) == []
        photos = [faceless, *(np.zeros((*s, 3), np.uint8) for s in [(1, 1), (1, 400), (33, 7)])]
        assert [len(found) for found in aligner.detect_frames(photos)] == [0] * 4

    def test_follows_faces_that_moved_a_little(self, aligner, group_photo):
        (found,) = aligner.detect_frames([group_photo])
        (moved,) = aligner.follow_frames([np.roll(group_photo, 2, axis=1)], [found.boxes])
        assert len(moved) == len(found)
        before, after = (f.landmarks[np.argsort(f.boxes[:, 0])] for f in (found, moved))
        assert np.abs(after - before - [2, 0]).max() < 4
        (nothing,) = aligner.follow_frames([group_photo], [np.empty((0, 4), np.float32)])
        assert len(nothing) == 0

    def test_finds_a_face_that_lies_on_its_side(self, aligner, drawn_faces):
        searching = FaceAligner(detector=aligner.detector, upright="search")
        (upright,) = searching.detect_frames([drawn_faces[0]])
        (turned,) = searching.detect_frames([np.rot90(drawn_faces[0])])
        height = drawn_faces.shape[2]
        back = np.stack([height - 1 - turned.landmarks[..., 1], turned.landmarks[..., 0]], axis=-1)
        np.testing.assert_allclose(back, upright.landmarks, atol=0.01)

    def test_copies_of_the_aligner_find_the_same(self, aligner, drawn_faces):
        copy = pickle.loads(pickle.dumps(aligner))
        assert_equal(copy.detect_frames(drawn_faces[:1])[0], aligner.detect(drawn_faces[:1])[0])

    def test_stored_faces_and_models_name_it(self, aligner, drawn_faces, tmp_path):
        name = aligner.detector
        assert get_detector_spec(name).digest() == aligner._settings().identity()["detector"]
        y = make_affect_faces(6, image_size=160, random_state=0).target[:6]
        head = JointAffectEstimator(max_epochs=1, random_state=0, device="cpu")
        model = make_pipeline(aligner, head).fit(drawn_faces[:6], y)
        save_model(model, tmp_path / "model.safetensors")
        assert load_model(tmp_path / "model.safetensors")[0].detector == name
        info = read_model_info(tmp_path / "model.safetensors")
        assert info["detectors"] == {name: DETECTORS[name].package}


def test_each_detector_stores_its_own_faces(drawn_faces, tmp_path):
    texts = {DETECTORS[name].digest() for name in OWN}
    assert len(texts) == len(OWN)
    clips = [
        FaceAligner(detector=name, cache=tmp_path).transform(drawn_faces[:1])[0] for name in OWN
    ]
    for name, clip in zip(OWN, clips, strict=True):
        again = FaceAligner(detector=name, cache=tmp_path).transform(drawn_faces[:1])[0]
        np.testing.assert_array_equal(again, clip)
        fresh = FaceAligner(detector=name).transform(drawn_faces[:1])[0]
        np.testing.assert_array_equal(again, fresh)


@pytest.mark.parametrize("name", OWN)
def test_the_code_for_a_gpu_finds_the_same(name, monkeypatch, group_photo, drawn_faces):
    """On the processor, so that every machine tests it; `TestOnAGPU` needs one."""
    photos = [group_photo, drawn_faces[0], group_photo[:401:2, ::2], drawn_faces[1]]
    aligner = FaceAligner(detector=name, device="cpu")
    expected = aligner.detect_frames(photos)
    followed = aligner.follow_frames(photos, [faces.boxes for faces in expected])
    for module in (mtcnn, refinement, yunet):
        monkeypatch.setattr(module, "on_processor", lambda device: False)
    again = aligner.detect_frames(photos)
    again += aligner.follow_frames(photos, [faces.boxes for faces in expected])
    for found, before in zip(again, expected + followed, strict=True):
        np.testing.assert_allclose(found.boxes, before.boxes, atol=1e-3)
        np.testing.assert_allclose(found.landmarks, before.landmarks, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
class TestOnAGPU:
    @pytest.mark.parametrize("name", OWN)
    def test_the_faces_of_the_processor(self, name, group_photo, drawn_faces):
        photos = [group_photo, *drawn_faces]
        both = [FaceAligner(detector=name, device=d).detect_frames(photos) for d in ("cpu", "cuda")]
        for expected, found in zip(*both, strict=True):
            partners = match(found, expected)
            assert sorted(partners) == list(range(len(expected)))
            assert np.abs(found.landmarks - expected.landmarks[partners]).max() < 1

    def test_predictions_of_the_processor(self, drawn_faces):
        values = []
        for device in ("cpu", "cuda"):
            model = load_model()
            model[0].set_params(device=device, detector="yunet")
            for step in find_steps(model[1:]):
                if "device" in step.get_params(deep=False):
                    step.set_params(device=device)
            values.append(model.predict(drawn_faces[:3]))
        np.testing.assert_allclose(values[1], values[0], rtol=0.02, atol=0.02)


def find_steps(model):
    steps = getattr(model, "steps", None) or getattr(model, "transformer_list", None)
    return [model] if steps is None else [s for _, part in steps for s in find_steps(part)]


class TestRegistry:
    @pytest.fixture
    def outside(self, monkeypatch):
        """A detector of another package, which takes the middle of an image for a face."""
        monkeypatch.setattr(registry, "_specs", registry._specs)
        spec = DetectorSpec("middle", find_middle, digest=lambda: "1", package="other.faces")
        register_detector(spec)
        yield spec
        registry._specs.pop("middle", None)

    def test_one_from_outside_works_by_its_name(self, outside, drawn_faces):
        aligner = FaceAligner(detector="middle")
        clips = aligner.transform(drawn_faces[:2])
        assert [clip.shape for clip in clips] == [(1, 112, 96, 3)] * 2
        (found,) = aligner.follow_frames(drawn_faces[:1], [np.empty((0, 4), np.float32)])
        assert len(found) == 1  # it cannot follow, so it detects

    def test_a_saved_model_says_what_to_import(self, outside, tmp_path):
        path = tmp_path / "aligner.safetensors"
        save_model(FaceAligner(detector="middle").fit(), path)
        assert load_model(path).detector == "middle"
        del registry._specs["middle"]
        with pytest.raises(MissingDependencyError, match=r"detector 'middle'.*import other\.faces"):
            load_model(path)

    def test_a_name_belongs_to_one_package(self, outside):
        register_detector(outside)
        with pytest.raises(ValueError, match=r"registered by other\.faces already"):
            register_detector(replace(outside, package="third"))

    def test_the_package_is_where_detect_is_defined(self):
        assert DetectorSpec("x", detect_faces, digest=str).package == "persona_affect.faces._mtcnn"

    def test_unknown_names_list_the_known_ones(self):
        with pytest.raises(ValueError, match=r"detector='retina' is not registered.*'mtcnn'"):
            FaceAligner(detector="retina").fit()


def find_middle(images, *, min_face_size, thresholds, device):
    found = []
    for image in images:
        height, width = image.shape[:2]
        points = np.array([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.4, 0.6], [0.6, 0.6]])
        box = np.array([[0, 0, width, height]], np.float32)
        landmarks = (points * [width, height])[None].astype(np.float32)
        found.append(Detections(box, np.ones(1, np.float32), landmarks))
    return found


class TestYuNet:
    def test_the_faces_that_opencv_finds(self, scenes):
        """`benchmarks/convert_yunet_weights.py --write-reference` made the file."""
        faces = list(make_affect_faces(6, image_size=160, random_state=0).data)
        scene = scenes.collage(faces, 8, (384, 640), 3)
        (boxes,) = yunet._propose([scene], [1.0], "cpu")
        for left, top, width, height, *_ in REFERENCE["rows"]:
            expected = np.array([left, top, left + width, top + height])
            assert np.abs(boxes - expected).max(axis=1).min() < 0.01

    def test_the_faces_and_landmarks_of_the_whole_cascade(self, scenes):
        faces = list(make_affect_faces(6, image_size=160, random_state=0).data)
        sizes = [(5, (480, 640)), (9, (720, 960))]
        photos = [scenes.collage(faces, n, size, seed=n) for n, size in sizes]
        both = detect_with_yunet(photos), detect_faces(photos)
        for found, expected in zip(*both, strict=True):
            partners = match(found, expected)
            assert sorted(partners) == list(range(len(expected)))
            sides = np.ptp(expected.boxes[partners].reshape(-1, 2, 2), axis=1).max(axis=1)
            away = np.abs(found.landmarks - expected.landmarks[partners]).max(axis=(1, 2)) / sides
            assert np.median(away) < 0.03
            assert away.max() < 0.1

    def test_small_faces_beside_a_small_one(self, scenes):
        """The second look finds what the first, on a copy of a third of the size, cannot see."""
        faces = list(make_affect_faces(6, image_size=160, random_state=0).data)
        photo = np.full((1080, 1920, 3), 128, np.uint8)
        photo[:300, :400] = scenes.collage(faces, 12, (300, 400), 0)
        scale = yunet._first_scale(photo, 20)
        first = yunet.follow_faces([photo], yunet._propose([photo], [scale], "cpu"))[0]
        (found,), (expected,) = detect_with_yunet([photo]), detect_faces([photo])
        assert len(found) > len(first)
        assert sum(p is not None for p in match(expected, found)) >= len(expected) - 1

    @pytest.mark.parametrize("cut", [np.s_[:, :90], np.s_[:, 65:], np.s_[60:], np.s_[:100, :95]])
    def test_faces_that_an_edge_cuts_off(self, cut, drawn_faces):
        photos = [np.ascontiguousarray(face[cut]) for face in drawn_faces]
        for found, expected in zip(detect_with_yunet(photos), detect_faces(photos), strict=True):
            assert len(found) >= (expected.scores > 0.95).sum()

    @pytest.mark.parametrize("shape", [(1, 96, 160), (4, 64, 64)])
    def test_strips_and_batches_change_nothing(self, shape, monkeypatch):
        pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        yunet_network = network.load_yunet("cpu")
        (*whole,) = zip(*yunet._look(pixels, yunet_network), strict=True)
        alone = [yunet._look([copy], yunet_network)[0] for copy in pixels]
        monkeypatch.setattr(network, "STRIP_PIXELS", 1)
        monkeypatch.setattr(network, "STRIP_CELLS", 1)
        strips = yunet._look(pixels, yunet_network)
        for again in (alone, strips):
            for expected, found in zip(whole, zip(*again, strict=True), strict=True):
                assert np.array_equal(expected, found)

    def test_a_damaged_file_says_so(self, tmp_path, monkeypatch):
        path = tmp_path / "yunet.safetensors"
        path.write_bytes(network.YUNET_FILE.read_bytes()[:1000])
        monkeypatch.setattr(network, "YUNET_FILE", path)
        with pytest.raises(WeightsError, match="install this package again"):
            network.load_yunet.__wrapped__("cpu")

    @pytest.mark.parametrize("size", [(30, 40), (31, 41), (60, 80), (13, 77)])
    def test_shrinks_without_a_shift(self, size):
        ramp = np.zeros((61, 81, 3), np.uint8)
        ramp[:] = np.arange(81, dtype=np.uint8)[:, None] * 3
        small = yunet.shrink(ramp, *size)
        assert small.shape == (*size, 3)
        expected = (np.arange(size[1]) + 0.5) * 81 / size[1] - 0.5
        np.testing.assert_allclose(small[5, 2:-2, 0] / 3, expected[2:-2], atol=0.7)


@given(st.integers(1, 40), st.integers(1, 50), st.sampled_from([24, 48]), st.integers(0, 2**32 - 1))
def test_crops_of_a_local_table_equal_those_of_the_whole_image(height, width, size, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    ends = rng.integers([1, 1], [width + 1, height + 1], (3, 2))
    boxes = np.concatenate([rng.integers(0, ends), ends], axis=1)
    for some in (boxes, boxes[:1], boxes[:0]):
        np.testing.assert_array_equal(
            LocalImage(image).crop(some, size), IntegralImage(image).crop(some, size)
        )
