import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from persona_affect.objectives import rank_accuracy, rank_loss, window_scores


def _loop_loss(scores, margin):
    length = len(scores)
    total = sum(
        max(0.0, margin - (scores[j] - scores[i]))
        for i in range(length)
        for j in range(i + 1, length)
    )
    return 2 / (length * (length - 1)) * total


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.sampled_from([0.0, 0.5, 1.0, 10.0]))
def test_rank_loss_is_the_double_loop(scores, margin):
    loss = rank_loss(torch.tensor(scores, dtype=torch.float64), margin)
    assert loss.item() == pytest.approx(_loop_loss(scores, margin), abs=1e-12)


def test_rank_loss_limits():
    order = torch.arange(5.0)
    assert rank_loss(order, 1.0) == 0
    assert rank_loss(torch.zeros(5), 1.0) == 1
    # Reversed: pairs d apart lose 1 + d each; of ten pairs the mean distance is 2.
    assert rank_loss(order.flip(0), 1.0) == pytest.approx(3.0)


def test_rank_loss_keeps_leading_axes():
    scores = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    whole = rank_loss(scores)
    assert whole.shape == (2, 3)
    assert whole[1, 2] == pytest.approx(_loop_loss(scores[1, 2].tolist(), 1.0), rel=1e-5)


def test_rank_accuracy():
    order = torch.arange(5.0)
    assert rank_accuracy(order) == 1
    assert rank_accuracy(order.flip(0)) == 0
    assert rank_accuracy(torch.zeros(5)) == 0.5
    one_swapped = torch.tensor([1.0, 0.0, 2.0, 3.0, 4.0])
    assert rank_accuracy(one_swapped) == pytest.approx(0.9)


def test_rank_accuracy_without_the_frames_that_the_network_saw():
    # Only the middle three are out of order: the pair of the outer two is not.
    scores = torch.tensor([0.0, 3.0, 2.0, 1.0, 4.0])
    assert rank_accuracy(scores, exclude=(-1, 0, 1)) == 1
    assert rank_accuracy(scores, exclude=[0]) == pytest.approx(5 / 6)
    # Of frames 1 and 3 the second comes first; what lies outside the window does not matter.
    assert rank_accuracy(scores, exclude=(-2, 0, 2, 9)) == 0
    assert rank_accuracy(scores) == pytest.approx(0.7)
    assert rank_accuracy(torch.arange(3.0), exclude=(-1, 0, 1)).isnan()


def _random_clips(seed=0):
    rng = torch.Generator().manual_seed(seed)
    frames = torch.randn(2, 12, 3, 4, 5, generator=rng, dtype=torch.float64)
    centres = torch.tensor([[3, 4, 8], [8, 5, 3]])
    maps = torch.randn(2, 3, 3, 4, 5, generator=rng, dtype=torch.float64)
    return maps, frames, centres


@pytest.mark.parametrize("scale", [1, 3])
def test_window_scores_are_those_of_windows_cut_out(scale):
    maps, frames, centres = _random_clips()
    scores = window_scores(maps, frames, centres, scale)
    for clip in range(2):
        for at, t in enumerate(centres[clip].tolist()):
            window = frames[clip, t - scale : t + scale + 1].numpy()
            window = window - window.mean(0)
            window /= np.sqrt(np.mean(window**2))
            expected = (window * maps[clip, at].numpy()).mean((1, 2, 3))
            np.testing.assert_allclose(scores[clip, at], expected, atol=1e-12)


def test_window_scores_ignore_the_look_and_how_far_it_moves():
    maps, frames, centres = _random_clips()
    scores = window_scores(maps, frames, centres, 2)
    look = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(window_scores(maps, 0.1 * frames + look, centres, 2), scores)


def test_window_scores_relative_to_a_deviation_that_is_given():
    maps, frames, centres = _random_clips()
    given = window_scores(maps, frames, centres, 2, torch.tensor([[2.0], [4.0]]))
    twice = window_scores(maps, 2 * frames, centres, 2, torch.tensor(4.0))
    torch.testing.assert_close(twice[1], 2 * given[1])
    torch.testing.assert_close(twice[0], given[0])
    relative = given / window_scores(maps, frames, centres, 2)
    torch.testing.assert_close(relative, relative[..., :1].expand_as(relative))


def test_window_without_motion_scores_zero():
    maps, frames, centres = _random_clips()
    still = frames[:, :1].expand_as(frames)
    assert window_scores(maps, still, centres, 2).abs().max() < 1e-6
