"""The work whose progress ``record_runs.py`` records."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import random
import socket
import sqlite3
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

#: Work: its total, the count that its bar starts at, and an iterator of its steps.
Work = tuple[int, int, Iterator[int]]

SLEEPING: dict[str, Callable[[], Work]] = {}
COMPUTING: dict[str, Callable[[], Work]] = {}


def sleeping(work: Callable[[], Work]) -> Callable[[], Work]:
    """Add work that mostly waits; all of it is recorded at once."""
    SLEEPING[work.__name__] = work
    return work


def computing(work: Callable[[], Work]) -> Callable[[], Work]:
    """Add work that needs a processor; two are recorded at a time."""
    COMPUTING[work.__name__] = work
    return work


def _waits(seconds: Iterator[float], initial: int = 0, total: int | None = None) -> Work:
    pauses = list(seconds)

    def steps() -> Iterator[int]:
        for pause in pauses:
            time.sleep(pause)
            yield 1

    return total or initial + len(pauses), initial, steps()


def _files(folder: str, pattern: str, number: int) -> list[Path]:
    found = sorted(path for path in Path(folder).rglob(pattern) if path.is_file())
    return [path for path in found if not path.is_symlink()][:number]


@sleeping
def steady() -> Work:
    """1,000 requests of 25 ms."""
    return _waits(0.025 for _ in range(1000))


@sleeping
def ten_equal_items() -> Work:
    """Ten exports of four seconds."""
    return _waits(4.0 for _ in range(10))


@sleeping
def pages_of_results() -> Work:
    """Pages of 100 rows, each after a request of half a second to two."""
    uneven = random.Random(1)
    return 3000, 0, _pages([uneven.uniform(0.5, 2) for _ in range(30)])


def _pages(seconds: list[float]) -> Iterator[int]:
    for pause in seconds:
        time.sleep(pause)
        for _ in range(100):
            yield 1


@sleeping
def one_long_pause() -> Work:
    """Requests of 50 ms; at a third of them a lock is waited for, 20 seconds."""
    return _waits(20.0 if number == 200 else 0.05 for number in range(600))


@sleeping
def retry_after() -> Work:
    """An API that refuses each 150 requests for eight seconds."""
    return _waits(8.0 if number % 150 == 149 else 0.04 for number in range(700))


@sleeping
def slow_first_item() -> Work:
    """A model is loaded in the first step, eight seconds; then 400 steps of 70 ms."""
    return _waits(0.07 if number else 8.0 for number in range(400))


@sleeping
def epochs() -> Work:
    """Training: batches of 80 ms, slower ones at first, and validation after each 60."""
    return _waits(3.0 if number % 60 == 59 else 0.08 + 0.5 * 0.8**number for number in range(300))


def _download(size: int, initial: int, bandwidth: Callable[[float], float]) -> Work:
    """Bytes that a server sends over a socket with a bandwidth that depends on the time."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        begun, left = time.monotonic(), size - initial
        while left > 0:
            theirs.sendall(bytes(min(left, 65536)))
            left -= 65536
            time.sleep(65536 / bandwidth(time.monotonic() - begun))
        theirs.close()

    def steps() -> Iterator[int]:
        threading.Thread(target=send, daemon=True).start()
        while chunk := ours.recv(16384):
            yield len(chunk)

    return size, initial, steps()


@sleeping
def resumed_download() -> Work:
    """The last 40 % of a download, at 1 MB/s and less."""
    uneven = random.Random(2)
    return _download(60_000_000, 36_000_000, lambda _: uneven.uniform(4e5, 1.2e6))


@sleeping
def download_of_changing_bandwidth() -> Work:
    """A download that shares its link with others, who come and go."""
    uneven = random.Random(3)
    shares = [uneven.uniform(3e5, 2e6) for _ in range(100)]
    return _download(40_000_000, 0, lambda elapsed: shares[int(elapsed / 7)])


@computing
def files_hashed() -> Work:
    """Files of varied sizes, hashed; a file is an item."""
    files = _files("/usr/lib", "*", 30_000)
    return len(files), 0, (hashlib.sha512(path.read_bytes()) and 1 for path in files)


@computing
def bytes_hashed() -> Work:
    """Large and small files, hashed; a byte is an item."""
    files = _files("/usr/lib/x86_64-linux-gnu", "*.so*", 1200)

    def steps() -> Iterator[int]:
        for path in files:
            content = path.read_bytes()
            for _ in range(3):
                hashlib.blake2b(content)
            yield len(content)

    return sum(path.stat().st_size for path in files), 0, steps()


@computing
def files_compressed() -> Work:
    """Documents and programs of varied sizes, compressed."""
    files = _files("/usr/lib/python3", "*", 1500) + _files("/usr/bin", "*", 60)
    return len(files), 0, (gzip.compress(path.read_bytes()) and 1 for path in files)


@computing
def ten_large_files() -> Work:
    """The ten largest libraries but for the very largest, compressed in the order of names."""
    files = sorted(
        _files("/usr/lib/x86_64-linux-gnu", "*.so*", 9999), key=lambda path: path.stat().st_size
    )
    some = sorted(files[-14:-4])
    return 10, 0, (zlib.compress(path.read_bytes(), 7) and 1 for path in some)


@computing
def rows_inserted() -> Work:
    """Rows with a random key into SQLite, whose index outgrows its cache; a commit per 5,000."""
    return 1_500_000, 0, _inserts(1_500_000, 5000)


@computing
def rows_flushed() -> Work:
    """Rows that are formatted one by one, and flushed to the disk by the ten thousand."""

    def steps() -> Iterator[int]:
        with tempfile.NamedTemporaryFile("w") as file:
            for number in range(200_000):
                file.write(
                    json.dumps({"id": number, "hash": hashlib.sha512(bytes(30_000)).hexdigest()})
                )
                yield 1
                if number % 10_000 == 9_999:
                    with gzip.open(file.name + ".gz", "wb", 9) as packed:
                        packed.write(Path(file.name).read_bytes())
                    Path(file.name + ".gz").unlink()

    return 200_000, 0, steps()


def _inserts(rows: int, batch: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder, sqlite3.connect(f"{folder}/rows") as database:
        database.execute("pragma cache_size = 500")
        database.execute("create table rows (key blob primary key, value text) without rowid")
        random_key = random.Random(4).randbytes
        for number in range(rows):
            database.execute("insert into rows values (?, 'value')", (random_key(16),))
            if number % batch == 0:
                database.commit()
            yield 1


@computing
def documents_parsed() -> Work:
    """JSON documents, of which few are large."""
    sizes = [int(random.Random(number).paretovariate(0.9)) * 40 for number in range(25_000)]
    texts = (json.dumps([{"id": 1.5, "name": "x" * 20}] * min(size, 60_000)) for size in sizes)
    return len(sizes), 0, (json.loads(text) and 1 for text in texts)


@computing
def primes_counted() -> Work:
    """Numbers tested by division, which takes longer the larger they are."""

    def steps() -> Iterator[int]:
        for number in range(1, 4_000_000, 100):
            all(number % divisor for divisor in range(2, number // 300))
            sum(1 for divisor in range(2, number // 3000) if number % divisor)
            yield 1

    return 40_000, 0, steps()


@computing
def paths_found_in_a_growing_cache() -> Work:
    """Collatz' sequences with a cache: ever more of them are known already."""
    return 3_000_000, 0, _sequences(3_000_000)


def _sequences(most: int) -> Iterator[int]:
    known: dict[int, int] = {1: 0}
    for number in range(1, most + 1):
        path, at = [], number
        while at not in known:
            path.append(at)
            at = at // 2 if at % 2 == 0 else 3 * at + 1
        for length, passed in enumerate(reversed(path), known[at] + 1):
            known[passed] = length
        yield 1


@computing
def a_million_tiny_items() -> Work:
    """A million short texts, hashed."""
    texts = (str(number).encode() * 20 for number in itertools.count())
    return (
        1_000_000,
        0,
        (hashlib.pbkdf2_hmac("md5", next(texts), b"salt", 20) and 1 for _ in range(1_000_000)),
    )


@computing
def done_items_skipped() -> Work:
    """A job that starts again: 40 % of its items turn out to be done, and are skipped."""
    blocks = (bytes(3_000_000) for _ in itertools.count())
    return 5000, 0, (number < 2000 or (hashlib.sha1(next(blocks)) and 1) for number in range(5000))
