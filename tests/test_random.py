from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import nn
from torch.nn import functional

from persona_affect._random import OwnRandomness


def rand():
    return torch.rand(3)


DRAWS = {
    "rand": rand,
    "randn": lambda: torch.randn(3, dtype=torch.float64),
    "randint": lambda: torch.randint(1000, (5,)),
    "randperm": lambda: torch.randperm(20),
    "normal": lambda: torch.normal(torch.zeros(4), torch.ones(4)),
    "bernoulli": lambda: torch.full((20,), 0.5).bernoulli(),
    "multinomial": lambda: torch.ones(20).multinomial(5),
    "poisson": lambda: torch.poisson(torch.full((9,), 4.0)),
    "in place": lambda: torch.empty(3).uniform_() + torch.empty(3).normal_().exponential_(),
    "rand_like": lambda: torch.rand_like(torch.zeros(3)) + torch.randn_like(torch.zeros(3)),
    "distributions": lambda: torch.distributions.Gamma(2.0, 1.0).sample((3,)),
    "dropout": lambda: functional.dropout(torch.ones(50)),
    "dropout of modules": lambda: nn.Sequential(nn.Dropout(), nn.Dropout2d())(
        torch.ones(2, 9, 4, 4)
    ),
    "attention": lambda: nn.MultiheadAttention(8, 2, dropout=0.5)(*[torch.ones(1, 5, 8)] * 3)[0],
    "modules": lambda: torch.cat(
        [
            p.flatten()
            for module in (
                nn.Linear(3, 2),
                nn.Conv2d(3, 2, 3),
                nn.Embedding(4, 2),
                nn.Bilinear(2, 2, 2),
                nn.GRU(2, 3),
                nn.TransformerEncoderLayer(4, 2, 8),
            )
            for p in module.parameters()
        ]
    ),
    **{
        initialise.__name__: lambda initialise=initialise: initialise(torch.empty(8, 8))
        for initialise in (
            nn.init.uniform_,
            nn.init.normal_,
            nn.init.trunc_normal_,
            nn.init.xavier_uniform_,
            nn.init.xavier_normal_,
            nn.init.kaiming_uniform_,
            nn.init.kaiming_normal_,
            nn.init.orthogonal_,
        )
    },
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_draws_are_those_of_the_seed_and_leave_the_global_generator(draw):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = [draw(), draw()]
    before = torch.get_rng_state()
    own = OwnRandomness(7)
    with own:
        first = draw()
    # What others draw in between does not matter, and goes on elsewhere.
    with OwnRandomness(8):
        draw()
    with own:
        second = draw()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])
    assert not torch.equal(first, second)


def test_threads_do_not_share_generators():
    def draw(seed, wait=None):
        with OwnRandomness(seed):
            drawn = []
            for _ in range(20):
                if wait:
                    wait.wait(timeout=60)
                drawn += [torch.rand(3), functional.dropout(torch.ones(3)), nn.Linear(1, 3).bias]
            return torch.stack(drawn)

    alone = [draw(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(draw, range(4), [Barrier(4)] * 4))
    assert torch.equal(torch.stack(alone), torch.stack(beside))


def test_continues_from_a_state():
    own, other = OwnRandomness(0), OwnRandomness(1)
    with own:
        torch.rand(5)
        state = own.get_state()
        expected = torch.rand(5)
    other.set_state(state)
    with other:
        assert torch.equal(torch.rand(5), expected)


def test_a_generator_of_the_call_goes_first():
    generator = torch.Generator().manual_seed(3)
    with OwnRandomness(0):
        drawn = torch.rand(4, generator=generator)
    assert torch.equal(drawn, torch.rand(4, generator=generator.manual_seed(3)))
