import torch

from persona_affect.networks import DynamicsUNet, PersonFilters, from_person_mean

PERSON = torch.tensor([0, 1, 0, 1, 1])


def _rng():
    return torch.Generator().manual_seed(0)


def test_inserted_filters_start_as_identity():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DynamicsUNet()
    stacks = torch.randn(5, 9, 28, 24, generator=_rng())
    filters = PersonFilters(net.level_widths, net.level_widths, n_persons=2)
    with_filters = net(stacks, lambda level, x: filters(level, x, PERSON))
    assert torch.equal(with_filters, net(stacks))


def test_every_person_has_a_filter_of_their_own():
    filters = PersonFilters({"encoder1": 4}, ["encoder1"], n_persons=2)
    with torch.no_grad():
        filters.weights["encoder1"].normal_(generator=_rng())
    x = torch.randn(5, 4, 3, 2, generator=_rng())
    together = filters("encoder1", x, PERSON)
    for who in (0, 1):
        own = x[who == PERSON]
        departures = own - own.mean(0)
        change = torch.einsum("oc,nchw->nohw", filters.weights["encoder1"][who], departures)
        torch.testing.assert_close(together[who == PERSON], own + change)


def test_levels_without_filters_pass_unchanged():
    filters = PersonFilters({"encoder1": 4, "decoder1": 4}, ["decoder1"])
    x = torch.randn(5, 4, 3, 2, generator=_rng())
    assert filters("encoder1", x, torch.zeros(5, dtype=torch.int64)) is x


def test_departures_of_each_person_average_to_zero():
    x = torch.randn(5, 4, 3, 2, generator=_rng()) + 7
    departures = from_person_mean(x, PERSON, 3)
    for who in (0, 1):
        torch.testing.assert_close(
            departures[who == PERSON].mean(0), torch.zeros(4, 3, 2), atol=1e-5, rtol=0
        )
