from types import SimpleNamespace

import pytest
import torch

from persona_affect.objectives import (
    PersEmoNLoss,
    coherence_loss,
    masked_half_squared_error,
    pool_clips,
)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    output = SimpleNamespace(
        embedding=draw(7, 4),
        personality=draw(7, 5),
        emotion=draw(7, 2),
        personality_from_emotion=draw(7, 5),
    )
    labels = {
        "personality": draw(3, 5),
        "emotion": draw(3, 2),
        "domain": torch.tensor([0, 0, 1]),
        "weight": torch.ones(3),
        "clip": torch.tensor([0, 0, 0, 1, 1, 1, 2]),
    }
    labels["personality"][2] = torch.nan
    labels["emotion"][:2] = torch.nan
    return output, labels, {"domain": torch.nn.Linear(4, 2)}


def test_terms_follow_the_papers_equations(batch):
    output, labels, heads = batch
    terms = PersEmoNLoss(2.0, 3.0, 0.5, 0.25)(output, labels, heads)
    head = heads["domain"]
    clips = [output.personality[:3].mean(0), output.personality[3:6].mean(0)]
    l_per = (
        0.5
        * torch.stack(
            [(c - y).square().sum() for c, y in zip(clips, labels["personality"], strict=False)]
        ).mean()
    )
    l_emo = 0.5 * (output.emotion[6] - labels["emotion"][2]).square().sum()
    l_coh = coherence_loss(output.embedding, torch.tensor([0, 0, 0, 0, 0, 0, 1]), head)
    ram = pool_clips(output.personality_from_emotion, labels["clip"], 3)
    l_ram = masked_half_squared_error(ram, labels["personality"])
    torch.testing.assert_close(terms["per"], l_per)
    torch.testing.assert_close(terms["emo"], l_emo)
    torch.testing.assert_close(terms["coh"], l_coh)
    torch.testing.assert_close(terms["ram"], l_ram)
    torch.testing.assert_close(terms["total"], 2 * l_per + 3 * l_emo + 0.5 * l_coh + 0.25 * l_ram)


@pytest.mark.parametrize("term", ["per", "emo", "coh", "ram"])
def test_a_weight_of_zero_is_not_computed(batch, term):
    loss = PersEmoNLoss(**{f"lambda_{term}": 0.0})
    assert term not in loss(*batch)


def test_pool_clips_averages_frames():
    values = torch.tensor([[1.0], [3.0], [5.0]])
    pooled = pool_clips(values, torch.tensor([1, 1, 0]), 2)
    assert pooled.tolist() == [[5.0], [2.0]]
