import numpy as np
import pytest
import torch
from torch.nn import functional as F

from persona_affect.faces._pooling import IntegralImage

IMAGE = np.random.default_rng(0).integers(0, 256, (97, 131, 3), dtype=np.uint8)


def plain_resize(image, size):
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    resized = F.interpolate(pixels, size=size, mode="area")
    return ((resized - 127.5) / 128)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(97, 131), (60, 80), (59, 83), (12, 17), (1, 1)])
def test_shrinking_is_area_interpolation(size):
    shrunk = IntegralImage(IMAGE).shrink(*size, slice(0, size[0]), size[1])
    np.testing.assert_allclose(shrunk, plain_resize(IMAGE, size), atol=1e-6)


def test_strips_are_parts_of_the_whole_and_repeat_its_edge():
    table = IntegralImage(IMAGE)
    whole = table.shrink(60, 80, slice(0, 60), 80)
    np.testing.assert_array_equal(table.shrink(60, 80, slice(20, 30), 80), whole[20:30])
    beyond = table.shrink(60, 80, slice(50, 61), 81)
    np.testing.assert_array_equal(beyond[:10, :80], whole[50:])
    np.testing.assert_array_equal(beyond[10, :80], whole[-1])
    np.testing.assert_array_equal(beyond[:10, 80], whole[50:, -1])


def test_crops_are_area_interpolation_up_and_down():
    boxes = np.array([[0, 0, 131, 97], [10, 20, 90, 77], [5, 5, 12, 9], [130, 96, 131, 97]])
    crops = IntegralImage(IMAGE).crop(boxes, 24)
    for crop, (x1, y1, x2, y2) in zip(crops, boxes, strict=True):
        np.testing.assert_allclose(crop, plain_resize(IMAGE[y1:y2, x1:x2], (24, 24)), atol=1e-6)


def test_no_crops():
    assert IntegralImage(IMAGE).crop(np.empty((0, 4), np.intp), 24).shape == (0, 24, 24, 3)


def test_sums_beyond_32_bits_cancel():
    white = np.full((3000, 3000, 3), 255, np.uint8)
    table = IntegralImage(white)
    np.testing.assert_allclose(table.shrink(3, 3, slice(0, 3), 3), 127.5 / 128, atol=1e-6)
