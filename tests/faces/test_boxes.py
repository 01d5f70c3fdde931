import numpy as np
import pytest

from persona_affect.faces._boxes import make_square, refine, suppress


def plain_suppress(boxes, scores, threshold, by_smaller=False):
    """Greedy suppression, one pair at a time."""
    edge = 1 if by_smaller else 0
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        for j in kept:
            width = min(boxes[i][2], boxes[j][2]) - max(boxes[i][0], boxes[j][0]) + edge
            height = min(boxes[i][3], boxes[j][3]) - max(boxes[i][1], boxes[j][1]) + edge
            overlap = max(width, 0) * max(height, 0)
            areas = [(b[2] - b[0] + edge) * (b[3] - b[1] + edge) for b in (boxes[i], boxes[j])]
            whole = min(areas) if by_smaller else sum(areas) - overlap
            if overlap > threshold * whole:
                break
        else:
            kept.append(i)
    return kept


def random_boxes(n, seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 200, (n, 2))
    sizes = rng.uniform(20, 60, (n, 2))
    boxes = np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)
    return boxes, rng.permutation(n).astype(np.float32) / n


@pytest.mark.parametrize("n", [0, 1, 2, 60, 400])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("by_smaller", [False, True])
def test_suppress_equals_the_plain_algorithm(n, threshold, by_smaller):
    boxes, scores = random_boxes(n, seed=n)
    kept = suppress(boxes, scores, threshold, by_smaller=by_smaller)
    assert kept.tolist() == plain_suppress(boxes, scores, threshold, by_smaller)


def test_a_suppressed_box_suppresses_no_other():
    boxes = np.array([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]], np.float32)
    kept = suppress(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.5)
    assert kept.tolist() == [0, 2]


def test_make_square_keeps_the_centre_and_the_longer_side():
    square = make_square(np.array([[0, 10, 20, 16]], np.float32))
    np.testing.assert_array_equal(square, [[0, 3, 20, 23]])


def test_refine_moves_corners_in_units_of_the_size():
    boxes = np.array([[10, 10, 29, 49]], np.float32)
    offsets = np.array([[0.1, -0.1, 0.2, 0.0]], np.float32)
    np.testing.assert_allclose(refine(boxes, offsets, edge=1), [[12, 6, 33, 49]], atol=1e-5)
    np.testing.assert_allclose(refine(boxes, offsets, edge=0), [[11.9, 6.1, 32.8, 49]], atol=1e-5)
