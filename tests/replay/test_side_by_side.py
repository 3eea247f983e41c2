"""Several threads give what one gives, bad things included."""

import threading

import pytest

from townlet_replay.errors import CaptureError
from townlet_replay.side_by_side import side_by_side


@pytest.mark.parametrize("workers", [1, 2, 5, 50])
def test_results_are_in_order(workers):
    assert side_by_side(lambda number: number**2, 37, workers) == [k**2 for k in range(37)]
    assert side_by_side(lambda number: number, 0, workers) == []


def test_threads_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=60)
    assert side_by_side(lambda number: meeting.wait() >= 0, 3, 3) == [True] * 3


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("bad", [{0}, {4}, {9, 4, 7}, {19}, set(range(20))])
def test_the_first_error_is_raised(workers, bad):
    made = []

    def act(number):
        made.append(number)
        if number in bad:
            raise CaptureError(f"bad: {number}")
        return number

    for _ in range(20):
        with pytest.raises(CaptureError, match=f"^bad: {min(bad)}$"):
            side_by_side(act, 20, workers)
    assert made


def test_a_later_error_that_comes_sooner_is_not_raised():
    later = threading.Event()

    def act(number):
        if number == 1:
            later.set()
        else:
            assert later.wait(60)
        raise CaptureError(str(number))

    with pytest.raises(CaptureError, match=r"^0$"):
        side_by_side(act, 2, 2)


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_anything_else_ends_all_threads(where):
    caller = threading.current_thread()
    both = threading.Barrier(2, timeout=60)
    gone = threading.Event()
    made = []

    def act(number):
        made.append(number)
        if number < 2:
            both.wait()
        elif where == "helper" and threading.current_thread() is caller:
            gone.wait(60)
        if (threading.current_thread() is caller) == (where == "caller"):
            gone.set()
            raise KeyboardInterrupt
        return number

    with pytest.raises(KeyboardInterrupt):
        side_by_side(act, 1000, 2)
    assert len(made) < 1000
