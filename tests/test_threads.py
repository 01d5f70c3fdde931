import threading

import pytest
import torch

from persona_affect._threads import share_processors, workers


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_in_order_and_torch_serial_inside(two_threads):
    barrier = threading.Barrier(2, timeout=30)

    def work(item):
        barrier.wait()
        return item, torch.get_num_threads(), threading.current_thread().name

    with workers("cpu") as share:
        items, n_threads, names = zip(*share(work, range(4)), strict=True)
    assert items == (0, 1, 2, 3)
    assert set(n_threads) == {1}
    assert len(set(names)) == 2


def threads_of_a_new_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_all_other_threads_are_untouched(two_threads):
    both = threading.Barrier(2, timeout=30)
    with workers("cpu") as share:
        # Each worker has set its own number of threads when both are here.
        list(share(lambda _: both.wait(), range(2)))
        assert torch.get_num_threads() == 2
        assert threads_of_a_new_thread() == 2
    assert torch.get_num_threads() == 2
    assert threads_of_a_new_thread() == 2

    def fail(item):
        raise KeyError(item)

    with pytest.raises(KeyError), workers("cpu") as share:
        list(share(fail, range(4)))
    assert torch.get_num_threads() == 2


def test_plain_map_for_one_thread_and_for_other_devices(two_threads):
    with workers("meta") as share:
        assert share is map
    torch.set_num_threads(1)
    with workers("cpu") as share:
        assert share is map


@pytest.mark.parametrize(("n_callers", "expected"), [(1, 2), (2, 1), (8, 1)])
def test_threads_of_a_server_have_their_share(two_threads, n_callers, expected):
    seen = []

    def call():
        for _ in range(2):
            share_processors(n_callers)
            seen.append(torch.get_num_threads())

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert seen == [expected] * 2
    assert torch.get_num_threads() == 2
    assert threads_of_a_new_thread() == 2
