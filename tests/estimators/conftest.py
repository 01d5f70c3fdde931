"""What several tests of estimators share."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """Sums in one order, so that results can be compared to the bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
