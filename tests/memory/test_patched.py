"""Whatever torch is made to do while a step is watched, it does as before afterwards."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager

import pytest
import torch

from workbench.memory.dataless import asked_about
from workbench.memory.patched import patched
from workbench.memory.threads import each_start
from workbench.memory.unwatched import known_random_state, known_storages, lean_pooling

PLACES = {
    torch: ("max_pool1d", "get_rng_state"),
    torch.random: ("get_rng_state",),
    torch.UntypedStorage: ("__new__", "share_memory_", "clone"),
    torch.Tensor: ("tolist",),
    threading.Thread: ("start",),
}
PATCHES = {
    "storages": lambda: known_storages(lambda _: None, lambda _: None),
    "random states": lambda: known_random_state(lambda _: None),
    "pooling": lean_pooling,
    "numbers": asked_about,
    "threads": lambda: each_start(lambda _: None),
}


def looks():
    """What stands at every place, and nothing where it is inherited."""
    return [vars(owner).get(name) for owner, names in PLACES.items() for name in names]


@pytest.mark.parametrize("name", PATCHES)
def test_a_patch_within_itself_puts_back_what_it_found(name):
    before = looks()
    with PATCHES[name]():
        within = looks()
        assert within != before, "this test sees nothing"
        with PATCHES[name]():
            assert looks() != within
        assert looks() == within
    assert looks() == before


@pytest.mark.parametrize("name", PATCHES)
def test_an_error_inside_leaves_nothing_patched(name):
    before = looks()
    with pytest.raises(RuntimeError, match="its own"), ExitStack() as stack:
        stack.enter_context(PATCHES[name]())
        stack.enter_context(PATCHES[name]())
        raise RuntimeError("its own")
    assert looks() == before


def test_the_outer_of_two_hears_of_storages_too():
    outer, inner = [], []
    with known_storages(outer.append, outer.append), known_storages(inner.append, inner.append):
        torch.UntypedStorage(8)
        torch.ones(4).share_memory_()
    assert len(outer) == len(inner) and len(inner) >= 2


def test_each_attribute_is_put_back_where_another_cannot_be():
    class Refusing(type):
        def __setattr__(cls, name, value):
            if name == "second" and value == 2:
                raise AttributeError(name)
            super().__setattr__(name, value)

    class Owner(metaclass=Refusing):
        first, second = 1, 2

    with pytest.raises(AttributeError, match="second"), patched(Owner, first=10, second=20):
        assert (Owner.first, Owner.second) == (10, 20)
    assert Owner.first == 1


def test_what_was_inherited_is_inherited_again():
    class Base:
        held = 1

    class Owner(Base):
        pass

    @contextmanager
    def twice():
        with patched(Owner, held=2), patched(Owner, held=3):
            yield

    with twice():
        assert Owner.held == 3
    assert "held" not in vars(Owner) and Owner.held == 1
