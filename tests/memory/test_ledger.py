"""The counting allocator: exact counts, nested contexts, recoverable refusals, record."""

from __future__ import annotations

import copy
import threading

import pytest
import torch

from workbench.memory import ledger

pytestmark = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")


def test_counts_live_peak_and_number():
    with ledger.counting() as count:
        first = torch.empty(1000)
        second = torch.empty(500, dtype=torch.float64)
        del second
        assert (count.live, count.peak, count.allocations) == (4000, 8000, 2)
        del first
    assert (count.live, count.peak) == (0, 8000)


def test_refuses_before_the_byte_too_many_and_recovers():
    with ledger.counting(4000) as count:
        kept = torch.empty(1000)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(1, dtype=torch.uint8)
        assert count.refusal == ledger.Refusal(asked=1, live=4000, limit=4000)
        assert count.live == 4000
        del kept
        assert torch.empty(1000).numel() == 1000
    assert torch.empty(10_000).numel() == 10_000


def test_contexts_nest_and_inner_cannot_loosen_outer():
    with ledger.counting(1000) as outer:
        with ledger.counting(10_000) as inner, pytest.raises(torch.OutOfMemoryError):
            torch.empty(1001, dtype=torch.uint8)
        with ledger.counting() as inner:
            torch.empty(800, dtype=torch.uint8)
        assert inner.peak == 800
        torch.empty(10, dtype=torch.uint8)
    assert outer.peak == 800


def test_frees_of_older_tensors_are_safe():
    older = torch.empty(1000)
    with ledger.counting() as count:
        del older
        assert count.live == -4000


def test_threads_are_counted_together():
    kept: list[torch.Tensor] = []

    def work() -> None:
        for _ in range(200):
            kept.append(torch.empty(10, dtype=torch.uint8))

    threads = [threading.Thread(target=work) for _ in range(4)]
    with ledger.counting() as count:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (count.live, count.allocations) == (8000, 800)


def test_record_pairs_allocations_with_frees():
    with ledger.recording() as events:
        tensor = torch.empty(123, dtype=torch.uint8)
        address = tensor.data_ptr()
        del tensor
    assert events == [(123, address), (-123, address)]


def test_storages_made_without_a_tensor_are_counted_and_refused():
    tensor = torch.ones(1000)
    with ledger.counting(9000) as count:
        storage = torch.UntypedStorage(1000)
        assert (count.live, count.allocations) == (1000, 1)
        copied = copy.deepcopy(tensor)
        assert count.live == 5000 and copied.tolist() == tensor.tolist()
        with pytest.raises(torch.OutOfMemoryError):
            storage.resize_(5000)  # the larger one is made before the old one goes
        storage.resize_(4000)
        assert (count.live, count.peak) == (8000, 9000)
        del copied, storage
    assert count.live == 0
