"""``uvicorn support.applications.fastapi_app:app``"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Header

from bridge import Bridge

bridge = Bridge()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    job = await bridge.aenqueue("support.add", [1, 2])
    app.state.at_start = await job.result(timeout=60)
    yield


app = FastAPI(lifespan=lifespan)


# Not `async`: FastAPI runs it in a thread, so that the publish does not hold up the event loop.
@app.post("/sums")
def sums(x_user: Annotated[str, Header()]) -> dict[str, str]:
    job = bridge.enqueue("support.add", [20, 22], owner=x_user)
    return {"job": job.id, "token": job.token}


@app.post("/results")
async def results(x_user: Annotated[str, Header()]) -> list[int]:
    job = await bridge.aenqueue("support.add", [20, 22], owner=x_user)
    return [app.state.at_start, await job.result(timeout=60)]
