import numpy as np
import pytest

from persona_affect import FaceAligner
from persona_affect.datasets import make_affect_clips
from persona_affect.faces import Detections, FaceStream
from persona_affect.faces._face_clip import resample_faces


class Scripted(FaceAligner):
    """Finds one face where the picture is not black; the face is as bright as the picture."""

    def detect_frames(self, images):
        one = Detections(
            np.array([[10, 10, 50, 50]], np.float32),
            np.ones(1, np.float32),
            np.zeros((1, 5, 2), np.float32),
        )
        return [one if image.any() else Detections.none() for image in images]

    def follow_frames(self, images, boxes):
        return self.detect_frames(images)

    def align_faces(self, image, landmarks):
        return np.full((len(landmarks), 112, 96, 3), image[0, 0, 0], np.uint8)


def shade(value):
    return np.full((60, 60, 3), value, np.uint8)


def pieces_of(stream, values, times):
    pieces = []
    for value, time in zip(values, times, strict=True):
        faces, follows = stream.add(shade(value), time)
        if not follows:
            pieces.append([])
        pieces[-1].extend(faces[:, 0, 0, 0].tolist())
    return [piece for piece in pieces if piece]


@pytest.mark.parametrize("rate", [12.5, 25, 30, 60, "variable"])
def test_a_stream_has_the_faces_of_the_whole_video(rate):
    steps = np.random.RandomState(0).uniform(1 / 60, 1 / 10, 60)
    times = np.cumsum(steps) if rate == "variable" else np.arange(60) / rate
    values = np.rint(120 + 80 * np.sin(3 * times)).astype(int)
    (found,) = pieces_of(FaceStream(Scripted(rate=25)), values, times)
    faces = [np.full((2, 2, 3), value, np.uint8) for value in values]
    expected = resample_faces(faces, range(60), times, 25, (2, 2))
    # Halves are rounded up or down.
    np.testing.assert_allclose(found, expected[:, 0, 0, 0].astype(int), atol=1)


def test_a_lost_face_and_late_frames_are_gaps():
    times = np.arange(50) / 30
    times[30:] += 0.5
    values = np.full(50, 90)
    values[10:20] = 0
    stream = FaceStream(Scripted(rate=25))
    found = pieces_of(stream, values, times)
    kept = values > 0
    faces = [np.full((2, 2, 3), 90, np.uint8)] * kept.sum()
    expected = resample_faces(faces, np.flatnonzero(kept), times[kept], 25, (2, 2))
    assert [len(piece) for piece in found] == [len(piece) for piece in expected.pieces()]
    assert (stream.n_frames, stream.n_gaps) == (50, 2)


def test_the_person_is_followed_not_the_largest_face():
    small, large = make_affect_clips(2, n_frames=2, random_state=0).data[:2]
    picture = np.full((300, 420, 3), 110, np.uint8)
    height, width = small[0].shape[:2]
    picture[60 : 60 + height, 20 : 20 + width] = small[0]
    stream = FaceStream(FaceAligner(rate=25, device="cpu"))
    first, follows = stream.add(picture, 0.0)
    assert (len(first), follows) == (1, False)
    nearer = np.repeat(np.repeat(large[0], 2, axis=0), 2, axis=1)[:300, :230]
    both = picture.copy()
    both[: nearer.shape[0], -nearer.shape[1] :] = nearer
    again, follows = stream.add(both, 0.04)
    assert follows
    difference = np.abs(again[0].astype(int) - first[0]).mean()
    assert difference < 5


def test_a_stream_needs_a_rate():
    with pytest.raises(ValueError, match="needs a rate"):
        FaceStream(FaceAligner())
