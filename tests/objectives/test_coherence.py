import math

import pytest
import torch
from torch.nn import functional

from persona_affect.objectives import coherence_loss


@pytest.fixture
def batch():
    torch_generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(11, 6, generator=torch_generator, dtype=torch.double)
    domain = torch.tensor([0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1])
    head = torch.nn.Linear(6, 2).double()
    with torch.no_grad():
        head.weight.normal_(generator=torch_generator)
        head.bias.normal_(generator=torch_generator)
    return embedding, domain, head


def gradients(loss, embedding, head):
    return torch.autograd.grad(loss, [embedding, head.weight, head.bias])


def test_gradients_equal_the_authors_two_cross_entropies(batch):
    embedding, domain, head = batch
    embedding.requires_grad_()
    ours = gradients(coherence_loss(embedding, domain, head), embedding, head)

    # As released: both terms reach the features, but the head learns from the first alone.
    first = functional.cross_entropy(head(embedding), domain)
    frozen = functional.linear(embedding, head.weight.detach(), head.bias.detach())
    second = functional.cross_entropy(frozen, 1 - domain)
    theirs = gradients(first + second, embedding, head)

    for mine, published in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, published)


def test_a_uniform_posterior_is_the_optimum_for_the_features(batch):
    embedding, domain, head = batch
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    embedding.requires_grad_()
    loss = coherence_loss(embedding, domain, head)
    assert loss.item() == pytest.approx(3 * math.log(2))
    assert (torch.autograd.grad(loss, embedding)[0] == 0).all()


def test_samples_of_both_sets_are_left_out(batch):
    embedding, domain, head = batch
    both = domain.clone()
    both[:4] = -1
    expected = coherence_loss(embedding[4:], domain[4:], head)
    torch.testing.assert_close(coherence_loss(embedding, both, head), expected)


def test_only_samples_of_both_sets_cost_nothing(batch):
    embedding, domain, head = batch
    assert coherence_loss(embedding, torch.full_like(domain, -1), head) == 0


def test_features_descend_to_where_the_head_cannot_tell(batch):
    embedding, domain, head = batch
    embedding.requires_grad_()
    optimizer = torch.optim.SGD([embedding], lr=1.0)
    assert (head(embedding).softmax(1) - 0.5).abs().max() > 0.4
    for _ in range(300):
        optimizer.zero_grad()
        coherence_loss(embedding, domain, head).backward()
        optimizer.step()
    assert (head(embedding).softmax(1) - 0.5).abs().max() < 0.01
