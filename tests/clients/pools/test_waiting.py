"""Blocks that come back with the loss of a worker are taken by those that had none left to do."""

from threading import Thread

from gauntlet.clients.pools.waiting import WaitingBlocks


def test_a_thread_without_a_block_pauses_until_one_comes_back_and_again_until_all_are_done():
    """By hand: two blocks, one a thread. The second is lost, comes back, and the first thread does it."""
    work, taken = WaitingBlocks(2), []

    def idle():
        while work.undone:
            if (block := work.take()) is None:
                work.pause()
            else:
                taken.append(block)
                work.done()

    assert (work.take(), work.take(), work.take()) == (0, 1, None)
    work.done()
    thread = Thread(target=idle, daemon=True)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    work.give_back([1])
    thread.join(10)

    assert not thread.is_alive()
    assert taken == [1]
    assert not work.undone


def test_blocks_come_back_before_all_others_in_their_order():
    work = WaitingBlocks(5)
    assert [work.take(), work.take(), work.take()] == [0, 1, 2]
    work.give_back([1, 2])

    assert len(work) == 4
    assert [work.take() for _ in range(4)] == [1, 2, 3, 4]


def test_whoever_pauses_goes_home_where_the_work_is_stopped():
    work = WaitingBlocks(1)
    work.take()
    thread = Thread(target=work.pause, daemon=True)
    thread.start()
    work.stop()
    thread.join(10)

    assert not thread.is_alive()
    assert work.take() is None
