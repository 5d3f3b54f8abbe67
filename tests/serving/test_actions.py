"""Laws of the drivers: both perform the same actions, and close what was opened however the work ends."""

import asyncio
import contextvars
import threading
from concurrent.futures import Future
from contextlib import aclosing

import httpx
import pytest

from mmrag.serving.actions import (
    Actions,
    Call,
    Emit,
    Pause,
    Wait,
    aiterate,
    arun,
    arun_all,
    iterate,
    run,
    run_all,
)
from mmrag.serving.client import ServerClient
from mmrag.serving.transport import ClientPool, Open

KEY = "sk-very-secret-1234"


class Door:
    """An action that opens the door; the driver has to shut it."""

    def __init__(self) -> None:
        self.open = False

    def shut(self) -> None:
        self.open = False

    def run(self, stack) -> None:
        self.open = True
        stack.callback(self.shut)

    async def arun(self, stack) -> None:
        self.run(stack)


@pytest.fixture(params=["sync", "async"])
def perform(request):
    """Run a generator of actions by either driver."""
    return run if request.param == "sync" else lambda actions: asyncio.run(arun(actions))


@pytest.fixture(params=["sync", "async"])
def perform_all(request):
    """Run several generators by either driver."""
    if request.param == "sync":
        return run_all
    return lambda *arguments: asyncio.run(arun_all(*arguments))


def summed(*numbers: int) -> Actions[int]:
    total = 0
    for number in numbers:
        total += yield Call(lambda number=number: number)
    yield Pause(0)
    return total


def test_the_result_is_what_the_generator_returns(perform):
    assert perform(summed(1, 2, 3)) == 6


def test_a_failing_action_raises_inside_the_generator(perform):
    def work() -> Actions[str]:
        try:
            yield Call(lambda: 1 // 0)
        except ZeroDivisionError as error:
            reason = str(error)
        return reason + (yield Call(lambda: "!"))

    assert perform(work()).endswith("!")
    with pytest.raises(ZeroDivisionError, match="division"):
        perform(yield_ for yield_ in [Call(lambda: 1 // 0)])


def test_a_future_gives_its_result_or_its_error(perform):
    def wait(future: Future) -> Actions[int]:
        return (yield Wait(future))

    done, failed = Future(), Future()
    done.set_result(5)
    failed.set_exception(KeyError("lost"))
    assert perform(wait(done)) == 5
    with pytest.raises(KeyError, match="lost"):
        perform(wait(failed))


@pytest.mark.parametrize("end", ["returns", "raises"])
def test_what_was_opened_is_closed_at_the_end(perform, end):
    door = Door()

    def work() -> Actions[bool]:
        yield door
        if end == "raises":
            raise ValueError("no more")
        return door.open

    if end == "raises":
        with pytest.raises(ValueError, match="no more"):
            perform(work())
    else:
        assert perform(work())
    assert not door.open


def doors(door: Door, closed: list[str]) -> Actions[None]:
    try:
        yield door
        yield Emit("first")
        yield Emit("second")
    finally:
        closed.append("generator")


def test_values_come_in_order_and_leaving_early_closes_what_was_opened():
    door, closed = Door(), []
    values = iterate(doors(door, closed))
    assert next(values) == "first" and door.open
    values.close()
    assert not door.open and closed == ["generator"]
    assert list(iterate(doors(door, closed))) == ["first", "second"]


def test_an_event_loop_gets_the_same_values_and_closes_the_same():
    door, closed = Door(), []

    async def first() -> str:
        async with aclosing(aiterate(doors(door, closed))) as values:
            value = await anext(values)
            assert door.open
            return value

    assert asyncio.run(first()) == "first"
    assert not door.open and closed == ["generator"]


def test_a_cancelled_task_closes_what_was_opened():
    door = Door()

    def work() -> Actions[None]:
        yield door
        yield Pause(3600)

    async def cancel() -> None:
        task = asyncio.create_task(arun(work()))
        while not door.open:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert not door.open


# ------------------------------------------------------------------------------------- side by side


@pytest.mark.parametrize("width", [1, 3, 50])
def test_results_are_in_the_order_of_the_work(perform_all, width):
    seen = []
    work = [summed(number, number) for number in range(20)]
    assert perform_all(work, width, seen.append) == [2 * number for number in range(20)]
    assert sorted(seen) == [2 * number for number in range(20)]


def test_no_work_is_no_result(perform_all):
    assert perform_all([], 4) == []


def test_no_more_run_together_than_allowed(perform_all):
    lock, together, most = threading.Lock(), [0], [0]
    full = threading.Event()

    def enter() -> None:
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
            if together[0] == 3:
                full.set()
        full.wait(60)
        with lock:
            together[0] -= 1

    def work() -> Actions[None]:
        yield Call(enter)

    perform_all([work() for _ in range(9)], 3)
    assert most[0] == 3


def test_after_the_first_failure_nothing_more_is_begun(perform_all):
    begun = []

    def work(number: int) -> Actions[None]:
        begun.append(number)
        if number == 0:
            raise ValueError("the first fails")
        while True:  # it ends when it is told to, and not by itself
            yield Pause(0.001)

    with pytest.raises(ValueError, match="the first fails"):
        perform_all([work(number) for number in range(500)], 2)
    assert len(begun) <= 3


def test_work_sees_the_callers_context(perform_all):
    who = contextvars.ContextVar("who", default="nobody")
    who.set("caller")

    def work() -> Actions[str]:
        return (yield Call(who.get))

    assert perform_all([work() for _ in range(3)], 3) == ["caller"] * 3


# ------------------------------------------------------------------------------ who owns which client


def test_calls_of_two_threads_never_share_a_client():
    pool, both = ClientPool("http://127.0.0.1:1", 2), threading.Barrier(2, timeout=60)
    clients = []

    def call() -> None:
        with pool.client() as client:
            clients.append(client)
            both.wait()  # both hold one now

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clients[0] is not clients[1]
    with pool.client() as client:
        assert client in clients  # one after the other they do
    pool.close()
    assert all(client.is_closed for client in clients)


def test_tasks_of_a_loop_share_its_client_and_loops_in_turn_have_their_own(fake_server):
    """Neither loop closes anything: the second must not meet the sockets of the first."""
    client, clients = ServerClient(fake_server.url), []
    for _ in range(4):
        fake_server.reply(200, {"ok": 1})

    async def twice() -> list:
        async def lent() -> httpx.AsyncClient:
            async with client._pool.aclient() as lent:
                return lent

        clients.append(await asyncio.gather(lent(), lent()))
        return await asyncio.gather(client.apost("x", {}), client.apost("x", {}))

    for _ in range(2):
        assert asyncio.run(twice()) == [{"ok": 1}] * 2
    (first, same), (second, _) = clients
    assert first is same and first is not second


def test_one_client_serves_threads_and_loops_at_the_same_time(fake_server):
    for _ in range(12):
        fake_server.reply(200, {"ok": 1})
    client = ServerClient(fake_server.url, max_concurrency=4)
    replies = []

    def block() -> None:
        replies.append(client.post("x", {}))

    def loop() -> None:
        async def two() -> list:
            async with client:
                return await asyncio.gather(client.apost("x", {}), client.apost("x", {}))

        replies.extend(asyncio.run(two()))

    threads = [threading.Thread(target=target) for target in [block, loop] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [{"ok": 1}] * 12


def test_the_action_that_carries_the_key_does_not_show_it():
    headers = {"Authorization": f"Bearer {KEY}"}
    action = Open(ClientPool("http://127.0.0.1:1", 1), "POST", "http://127.0.0.1:1", {}, headers, 0.0)
    assert KEY not in repr(action) + str(action)
