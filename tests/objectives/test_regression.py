import pytest
import torch

from persona_affect.objectives import masked_half_squared_error, masked_smooth_l1


@pytest.fixture
def labels():
    generator = torch.Generator().manual_seed(0)
    y_pred = torch.randn(7, 3, generator=generator, requires_grad=True)
    y_true = torch.randn(7, 3, generator=generator)
    y_true[0] = torch.nan
    y_true[2, 1] = torch.nan
    return y_pred, y_true


@pytest.mark.parametrize(
    ("loss", "elementwise"),
    [
        (masked_half_squared_error, lambda d: d**2 / 2),
        (masked_smooth_l1, lambda d: d**2 / 2 if abs(d) < 1 else abs(d) - 0.5),
    ],
)
def test_equals_a_plain_loop_over_observed_labels(loss, elementwise, labels):
    y_pred, y_true = labels
    weight = torch.arange(1.0, 8.0)
    total = mass = 0.0
    for i in range(7):
        if y_true[i].isnan().all():
            continue
        mass += float(weight[i])
        for j in range(3):
            if not y_true[i, j].isnan():
                total += float(weight[i]) * elementwise(float(y_pred[i, j].detach() - y_true[i, j]))
    assert loss(y_pred, y_true, weight).item() == pytest.approx(total / mass, rel=1e-5)


def test_without_missing_labels_it_is_the_papers_half_mean_of_squared_distances():
    y_pred, y_true = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    expected = 0.5 * (y_pred - y_true).norm(dim=1).square().mean()
    assert torch.isclose(masked_half_squared_error(y_pred, y_true), expected)


@pytest.mark.parametrize("loss", [masked_half_squared_error, masked_smooth_l1])
def test_missing_labels_pass_no_gradient(loss, labels):
    y_pred, y_true = labels
    loss(y_pred, y_true).backward()
    assert y_pred.grad.isfinite().all()
    assert (y_pred.grad[y_true.isnan()] == 0).all()
    assert (y_pred.grad[~y_true.isnan()] != 0).all()


@pytest.mark.parametrize("loss", [masked_half_squared_error, masked_smooth_l1])
def test_a_batch_without_ratings_has_zero_loss(loss):
    y_pred = torch.ones(3, 2, requires_grad=True)
    value = loss(y_pred, torch.full((3, 2), torch.nan))
    value.backward()
    assert value == 0
    assert (y_pred.grad == 0).all()


def test_doubling_a_weight_is_repeating_the_sample(labels):
    y_pred, y_true = labels
    weight = torch.ones(7)
    weight[3] = 2
    rows = [0, 1, 2, 3, 3, 4, 5, 6]
    repeated = masked_half_squared_error(y_pred[rows], y_true[rows])
    assert torch.isclose(masked_half_squared_error(y_pred, y_true, weight), repeated)
