"""What begins at once is spread over turns of the event loop."""

from __future__ import annotations

import asyncio

import pytest

from bridge.client.asynchronous.turns import AT_ONCE, Turns


@pytest.mark.parametrize("count", [1, AT_ONCE, 10 * AT_ONCE + 1])
def test_so_many_go_on_in_each_turn_in_order(count):
    turns, begun, counts = Turns(), [], []

    async def begin(number):
        await turns.wait()
        begun.append(number)

    async def main():
        for _ in range(2):
            begun.clear()
            tasks = [asyncio.ensure_future(begin(number)) for number in range(count)]
            while len(begun) < count:
                before = len(begun)
                await asyncio.sleep(0)
                counts.append(len(begun) - before)
            await asyncio.gather(*tasks)
            assert begun == list(range(count))

    asyncio.run(main())
    assert max(counts) <= AT_ONCE
    assert sum(counts) == 2 * count
