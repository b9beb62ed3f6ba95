"""A FastAPI application that streams a language model's answer, token by token.

    uvicorn apps.chat:app
    celery -A apps.chat:celery worker
    taskbridge serve

The socket server is a process of its own beside uvicorn. In the place of a model is one that talks
by chance: what a client of a real one yields goes where ``generate`` is called.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from celery import Celery
from fastapi import FastAPI, Header
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

import bridge
from bridge import Bridge, job, progress

celery = Celery("chat", broker=os.environ["CHAT_BROKER"], backend=os.environ["CHAT_RESULTS"])
bridge.install(celery)

CORPUS = (
    "a worker reports its progress and a server pushes it to the browser . a browser that comes "
    "back gets what it missed and a worker that dies is told to be lost . the person who asked "
    "for it watches it live and the operator watches the worker ."
)


def generate(prompt: str, tokens: int) -> Iterator[str]:
    """Yield tokens of an answer, as a model's client does."""
    words, follow = CORPUS.split(), defaultdict(list)
    for word, following in pairwise(words):
        follow[word].append(following)
    chance, word = random.Random(prompt), "a"
    for _ in range(tokens):
        yield f"{word} "
        time.sleep(0.02)
        word = chance.choice(follow[word] or words)


@celery.task
def answer(prompt: str, tokens: int) -> str:
    """Stream an answer to who watches, and return all of it."""
    job.set_meta(model="by chance")
    said = []
    for token in progress(generate(prompt, tokens), total=tokens, desc="tokens", unit="token"):
        job.output(token)
        said.append(token)
    return "".join(said)


class Question(BaseModel):
    prompt: str
    tokens: int = 100


app = FastAPI()
taskbridge = Bridge(app=celery)


@app.post("/questions")
def ask(question: Question, x_user: str = Header()) -> dict[str, str]:
    # Not `async def`: a broker is waited for in FastAPI's thread pool, and nobody else with it.
    asked = taskbridge.enqueue(answer.s(question.prompt, question.tokens), owner=x_user)
    return {"job": asked.id, "token": asked.token}


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Chat</title></head>
<body><main><h1>Ask</h1>
<form><label>Question <input name="prompt" required></label><button>Ask</button></form>
<p id="answer"></p><button id="stop" hidden>Stop</button><p id="state"></p></main>
<script type="module">
  import { connect } from "SERVER/static/client.js";
  const [form, text, state, stop] = ["form", "#answer", "#state", "#stop"].map((one) =>
    document.querySelector(one));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    text.textContent = "";
    const body = JSON.stringify({ prompt: form.prompt.value });
    const headers = { "Content-Type": "application/json", "X-User": "ada" };
    const { job, token } = await (
      await fetch("/questions", { method: "POST", body, headers })).json();
    const client = connect({ url: "SERVER", token });
    const watched = client.watch(job);
    stop.hidden = false;
    stop.onclick = () => client.cancel(job);
    for await (const one of watched)
      if (one.type === "output") text.append(...one.data.chunks);
    stop.hidden = true;
    state.textContent = watched.snapshot.state;
    client.close();
  });
</script></body></html>"""


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    return PAGE.replace("SERVER", taskbridge.settings.server_url)


@app.get("/favicon.ico", status_code=204)
def icon() -> None:
    """None."""
