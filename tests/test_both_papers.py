"""The example that joins both papers finds the shares that its traits are made of."""

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples/both_papers.py"))


@pytest.mark.parametrize("stated", [(0.4, 0.25, 0.25), (0.1, 0.2, 0.6), (0.5, 0.4, 0.0)])
def test_shares_are_recovered_from_weak_and_mixed_readings(stated):
    rng = np.random.RandomState(0)
    names = list(EXAMPLE["CAUSES"])
    causes = {name: rng.standard_normal((2000, 5)) for name in names}
    noise = np.sqrt(1 - sum(stated)) * rng.standard_normal((2000, 5))
    traits = sum(np.sqrt(s) * c for s, c in zip(stated, causes.values(), strict=True)) + noise
    mixed = dict(zip(names, np.roll(list(causes.values()), 1, axis=0), strict=True))
    read = {
        name: 0.2 * cause + 0.1 * mixed[name] + 0.4 * rng.standard_normal(cause.shape)
        for name, cause in causes.items()
    }
    shares = EXAMPLE["recover_shares"](read, causes, 0.5 + 0.15 * traits)
    np.testing.assert_allclose([shares[name] for name in names], stated, atol=0.05)


@pytest.mark.slow
def test_the_example_measures_each_part():
    figures = EXAMPLE["compare"](n_persons=50, n_photos=150, seed=7)
    assert all(np.isfinite(value) for value in figures.values())
    assert len([name for name in figures if name.startswith("CCC")]) == 7 + 2
    # What a face shows is easy to read, so that its share is found with few persons.
    assert figures["shows: read, r2 with the true part"] > 0.6
    assert figures["shows: share recovered (true: 0.25)"] == pytest.approx(0.25, abs=0.1)
