import asyncio

from bridges.tasks import end


async def test_a_task_that_loses_its_first_cancellation_ends_all_the_same() -> None:
    lost = 0

    async def polls() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    async def breaks() -> None:
        raise ValueError("broken")

    tasks = [asyncio.create_task(polls()), asyncio.create_task(breaks())]
    await asyncio.sleep(0.005)
    async with asyncio.timeout(5):
        await end(tasks, again=0.02)
    assert lost == 1
    assert all(task.done() for task in tasks)


async def test_ending_nothing_is_no_error() -> None:
    await end([])
