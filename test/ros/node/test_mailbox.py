"""The hand-over between callback and worker."""

from __future__ import annotations

import threading

import pytest

from sfm_ros.ros.node.mailbox import Mailbox


def test_newest_replaces_the_waiting_item_and_counts_it() -> None:
    mailbox: Mailbox[int] = Mailbox("newest")
    for item in range(5):
        assert mailbox.put(item)
    assert mailbox.get(0) == 4
    assert mailbox.get(0) is None
    assert mailbox.replaced == 4


def test_every_keeps_the_order_between_two_threads() -> None:
    mailbox: Mailbox[int] = Mailbox("every", capacity=3)
    taken: list[int] = []

    def consume() -> None:
        while (item := mailbox.get()) is not None:
            taken.append(item)

    consumer = threading.Thread(target=consume)
    consumer.start()
    for item in range(500):
        assert mailbox.put(item)
    mailbox.close()
    consumer.join(10)
    assert taken == list(range(500))
    assert mailbox.replaced == 0


def test_every_counts_waits_for_room() -> None:
    mailbox: Mailbox[int] = Mailbox("every", capacity=1)
    mailbox.put(1)
    producer = threading.Thread(target=mailbox.put, args=(2,))
    producer.start()
    while mailbox.waited == 0:
        threading.Event().wait(0.001)
    assert len(mailbox) == 1
    assert mailbox.get(5) == 1
    producer.join(5)
    assert mailbox.get(5) == 2


def test_close_ends_the_wait_of_a_consumer() -> None:
    mailbox: Mailbox[int] = Mailbox()
    result: list[int | None] = []
    consumer = threading.Thread(target=lambda: result.append(mailbox.get()))
    consumer.start()
    mailbox.close()
    consumer.join(5)
    assert result == [None]


def test_close_ends_the_wait_of_a_producer_and_drops_its_item() -> None:
    mailbox: Mailbox[int] = Mailbox("every", capacity=1)
    mailbox.put(1)
    result: list[bool] = []
    producer = threading.Thread(target=lambda: result.append(mailbox.put(2)))
    producer.start()
    while mailbox.waited == 0:
        threading.Event().wait(0.001)
    mailbox.close()
    producer.join(5)
    assert result == [False]
    assert mailbox.get() == 1
    assert mailbox.get() is None


def test_closed_mailbox_refuses_items() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.close()
    assert mailbox.closed
    assert not mailbox.put(1)
    assert mailbox.get() is None


@pytest.mark.parametrize(("image_queue", "capacity"), [("oldest", 1), ("every", 0)])
def test_invalid_arguments_are_refused(image_queue: str, capacity: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        Mailbox(image_queue, capacity)


def test_wait_ends_with_an_item_or_when_closed() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    assert mailbox.wait() and len(mailbox) == 1  # not taken
    assert mailbox.get(0) == 1
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(mailbox.wait()))
    waiter.start()
    mailbox.close()
    waiter.join(10)
    assert results == [False]
