"""Turns: one thread at a time, again within itself, in the order of waiting, given up when cancelled, not inherited."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from workbench.core import alone as turns
from workbench.core.alone import alone, each_alone
from workbench.core.collection import uncollected
from workbench.core.stopping import Stopped, heeding


@contextmanager
def held_elsewhere() -> Iterator[None]:
    """Another thread is inside meanwhile."""
    inside, over = threading.Event(), threading.Event()

    def hold() -> None:
        with alone():
            inside.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def in_a_thread(work):
    """Begin ``work`` in a thread; what it gives or raises is in the list that comes with it once it has ended."""
    found = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_no_two_threads_are_inside_at_once() -> None:
    inside, most, count = [], [], 0

    def work() -> None:
        nonlocal count
        for _ in range(200):
            with alone(), alone():
                inside.append(1)
                most.append(len(inside))
                count += 1
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and count == 800


def test_who_waits_comes_before_who_had_the_last_turn() -> None:
    order = []

    def wait() -> None:
        with alone():
            order.append("who waited")

    with alone():
        thread, _ = in_a_thread(wait)
        while not turns._next.locked():
            time.sleep(0.001)
    with alone():
        order.append("who had it")
    thread.join()
    assert order == ["who waited", "who had it"]


@pytest.mark.parametrize("own", [False, True], ids=["the event that is heeded", "an event of its own"])
def test_who_waits_is_heard_when_cancelled(own: bool) -> None:
    cancel, entered = threading.Event(), []

    def wait() -> None:
        with heeding(threading.Event() if own else cancel), alone(cancel if own else None):
            entered.append(1)

    with held_elsewhere():
        thread, found = in_a_thread(wait)
        cancel.set()
        thread.join()
        assert isinstance(found[0], Stopped) and not entered
    with alone():
        entered.append(2)
    assert entered == [2]


def test_who_need_not_wait_goes_in_though_cancelled() -> None:
    cancel = threading.Event()
    cancel.set()
    with alone(cancel):
        pass


def test_what_is_made_in_turns_hears_that_it_was_cancelled_where_it_stands() -> None:
    cancel, told = threading.Event(), []

    def steps() -> Iterator[int]:
        try:
            yield 1
            yield 2
        except Stopped:
            told.append("stopped")

    made = each_alone(steps(), cancel)
    assert next(made) == 1
    with held_elsewhere():
        cancel.set()
        thread, found = in_a_thread(lambda: list(made))
        thread.join()
    assert told == ["stopped"] and found == [[]]


def test_what_has_not_begun_ends_with_the_wait() -> None:
    cancel, begun = threading.Event(), []
    cancel.set()

    def steps() -> Iterator[int]:
        begun.append(1)
        yield 1

    with held_elsewhere(), pytest.raises(Stopped):
        next(each_alone(steps(), cancel))
    assert not begun


def test_an_error_gives_the_turn_away() -> None:
    def steps() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("its own")

    made = each_alone(steps())
    assert next(made) == 1
    with pytest.raises(ZeroDivisionError, match="its own"):
        next(made)
    with held_elsewhere():
        pass


def test_garbage_waits_for_the_last_thread_that_wants_none_collected() -> None:
    inside, over = threading.Event(), threading.Event()

    def hold() -> bool:
        with uncollected():
            inside.set()
            over.wait()
            return gc.isenabled()

    assert gc.isenabled()
    with uncollected():
        thread, found = in_a_thread(hold)
        inside.wait()
    assert not gc.isenabled()
    over.set()
    thread.join()
    assert found == [False] and gc.isenabled()


def _ends_well(child: Callable[[], bool]) -> bool:
    """Whether ``child`` gives true in a forked process; one that waits for ever ends by its own alarm."""
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1] == 0
    signal.alarm(60)
    try:
        os._exit(0 if child() else 1)
    except BaseException:
        os._exit(2)


def test_a_forked_process_does_not_inherit_the_turn_of_another_thread() -> None:
    def child() -> bool:
        with alone():
            return True

    with held_elsewhere():
        assert _ends_well(child)


def test_a_process_that_is_forked_inside_goes_on_inside() -> None:
    def child() -> bool:
        cancel = threading.Event()
        cancel.set()
        thread, found = in_a_thread(lambda: alone(cancel).__enter__())
        thread.join()
        turn.__exit__(None, None, None)
        with held_elsewhere():
            return isinstance(found[0], Stopped)

    turn = alone()
    with turn:
        assert _ends_well(child)
