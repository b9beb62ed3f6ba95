"""``uvicorn support.applications.fastapi_app:app``"""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Header

from bridge import Bridge

app = FastAPI()
bridge = Bridge()


# Not `async`: FastAPI runs it in a thread, so that the publish does not hold up the event loop.
@app.post("/sums")
def sums(x_user: Annotated[str, Header()]) -> dict[str, str]:
    job = bridge.enqueue("support.add", [20, 22], owner=x_user)
    return {"job": job.id, "token": job.token}
