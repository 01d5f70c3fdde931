import pytest
import torch

from persona_affect.networks import HEADS, EmbeddingAdapter, PersEmoN, SphereFace, parameter_groups


@pytest.fixture
def embeddings():
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(0))


def test_heads_have_the_papers_shapes_and_ranges(embeddings):
    network = PersEmoN(EmbeddingAdapter(8), n_personality=6, n_emotion=2)
    output = network(100 * embeddings)
    assert output.embedding.shape == (5, 8)
    assert output.personality.shape == output.personality_from_emotion.shape == (5, 6)
    assert output.emotion.shape == (5, 2)
    assert output.emotion.abs().max() <= 1
    assert output.personality_from_emotion.abs().max() <= 1
    assert output.personality.abs().max() > 1
    assert network.domain(output.embedding).shape == (5, 2)


def test_ram_reads_the_eam(embeddings):
    network = PersEmoN(EmbeddingAdapter(8))
    output = network(embeddings)
    torch.testing.assert_close(output.personality_from_emotion, network.ram(output.emotion))
    output.personality_from_emotion.sum().backward()
    assert network.eam[0].weight.grad.abs().sum() > 0
    assert network.pam[0].weight.grad is None


@pytest.mark.parametrize("left_out", HEADS)
def test_heads_that_are_not_asked_for_are_not_built(left_out, embeddings):
    network = PersEmoN(EmbeddingAdapter(8), heads=[h for h in HEADS if h != left_out])
    # The RAM cannot do without the EAM.
    assert (getattr(network, left_out) is None) == (left_out != "eam")
    output = network(embeddings)
    assert (output.personality is None) == (left_out == "pam")
    assert (output.personality_from_emotion is None) == (left_out == "ram")


def test_parameter_groups_follow_the_published_multipliers():
    network = PersEmoN(SphereFace(10))
    groups = parameter_groups(network, lr=0.1, weight_decay=0.5)
    found = {
        id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]
    }
    rules = {
        "fem.stages.0.0.weight": (0.1, 0.5),
        "fem.stages.0.0.bias": (0.2, 0.0),
        "fem.fc5.weight": (0.1, 0.5),
        "fem.fc5.bias": (0.2, 0.0),
        "pam.0.weight": (0.1, 0.5),
        "pam.0.bias": (0.2, 0.5),
        "ram.2.bias": (0.2, 0.5),
        "domain.weight": (0.1, 0.5),
        "domain.bias": (0.2, 0.0),
    }
    parameters = dict(network.named_parameters())
    assert {name: found[id(parameters[name])] for name in rules} == rules
    learnt = {id(p) for p in network.parameters() if p.requires_grad}
    assert set(found) == learnt
    assert id(parameters["fem.stages.1.2.body.0.bias"]) not in found


def test_adapter_starts_as_standardisation(embeddings):
    adapter = EmbeddingAdapter(8, rank=3)
    shifted = embeddings * 7 + 3
    shifted[:, 0] = 4.2  # a constant feature
    adapter.standardize(shifted)
    z = adapter(shifted)
    torch.testing.assert_close(z.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(z[:, 1:].std(0, correction=0), torch.ones(7))
    assert z[:, 0].abs().max() < 1e-5
