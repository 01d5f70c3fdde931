import pytest
import torch

from persona_affect.networks import UNET_LEVELS, DynamicsUNet, stack_context


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("size", [(28, 24), (9, 15), (56, 48)])
def test_a_map_a_scale_of_the_size_of_the_face(size):
    net = DynamicsUNet(scales=(1, 4), context=3)
    assert net(torch.randn(2, 9, *size)).shape == (2, 2, 3, *size)


def test_filters_can_be_put_after_each_level_in_order():
    net = DynamicsUNet(widths=(8, 16, 24))
    seen = []

    def insert(level, features):
        seen.append((level, features.shape[1]))
        return features

    stacks = torch.randn(1, 9, 28, 24)
    torch.testing.assert_close(net(stacks, insert), net(stacks))
    assert seen == list(net.level_widths.items())
    assert tuple(net.level_widths) == UNET_LEVELS


def test_what_is_put_in_is_used():
    net = DynamicsUNet()
    stacks = torch.randn(1, 9, 28, 24)
    for level in UNET_LEVELS:
        changed = net(stacks, lambda at, x, level=level: 2 * x if at == level else x)
        assert not torch.allclose(changed, net(stacks))


def test_stacks_hold_the_neighbours_in_their_order():
    frames = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    stacks = stack_context(frames, torch.tensor([1, 3]), 3)
    assert stacks.shape == (2, 9, 2, 2)
    assert stacks[:, ::3, 0, 0].tolist() == [[0, 1, 2], [2, 3, 4]]
    assert stack_context(frames, torch.tensor([4]), 1)[0, :, 0, 0].tolist() == [4, 4, 4]


def test_stacks_of_frames_further_apart():
    frames = torch.arange(9.0).view(9, 1, 1, 1).expand(9, 3, 2, 2)
    stacks = stack_context(frames, torch.tensor([4]), 3, spacing=3)
    assert stacks[0, ::3, 0, 0].tolist() == [1, 4, 7]


@pytest.mark.parametrize(
    ("context", "spacing", "passes", "seen"),
    [
        (3, "scale", {2: [0], 5: [1]}, [-5, 0, 5]),
        (5, "scale", {2: [0], 5: [1]}, [-10, -5, 0, 5, 10]),
        (3, 4, {4: [0, 1]}, [-4, 0, 4]),
        (1, "scale", {1: [0, 1]}, [0]),
    ],
)
def test_frames_in_are_as_far_apart_as_the_scale_reaches(context, spacing, passes, seen):
    net = DynamicsUNet(scales=(2, 5), context=context, spacing=spacing)
    assert net.scales_by_spacing == passes
    assert net.input_offsets(1) == seen
