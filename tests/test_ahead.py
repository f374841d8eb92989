"""Results that threads compute ahead of their use: in order, as far as memory allows, and errors in their place."""

import threading
import time

import pytest

from codec.ahead import ahead


def test_results_come_in_order_though_early_ones_take_longest():
    def work(number):
        time.sleep(0.02 if number == 0 else 0)
        return number

    assert list(ahead(work, range(50), 4, 3, lambda _: 1)) == list(range(50))
    assert list(ahead(work, [], 2, 1, lambda _: 1)) == []


def test_work_goes_on_while_the_caller_is_busy_until_enough_is_waiting():
    begun, all_begun = [], threading.Event()

    def work(number):
        begun.append(number)
        if len(begun) == 12:
            all_begun.set()
        return number

    results = ahead(work, range(100), 1, 10, lambda _: 1)
    assert next(results) == 0
    # 11 wait when they are more than 10, and one was taken.
    assert all_begun.wait(10)
    time.sleep(0.05)
    assert 12 <= len(begun) <= 14
    results.close()
    assert len(begun) <= 14


def test_what_the_work_raises_comes_in_its_place_and_ends_it():
    begun = []

    def work(number):
        begun.append(number)
        if number == 3:
            raise ValueError("by design")
        return number

    taken = []
    with pytest.raises(ValueError, match="by design"):
        for result in ahead(work, range(1000), 2, 2, lambda _: 1):
            taken.append(result)
    assert taken == [0, 1, 2]
    assert len(begun) < 100


def test_what_the_items_raise_comes_in_its_place_too():
    def items():
        yield from range(3)
        raise OSError("by design")

    taken = []
    with pytest.raises(OSError, match="by design"):
        for result in ahead(lambda number: number, items(), 2, 2, lambda _: 1):
            taken.append(result)
    assert taken == [0, 1, 2]
