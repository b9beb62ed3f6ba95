"""The fenced code blocks of README and docs, with what is given to them where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.process import ROOT

__all__ = ["DOCUMENTS", "Block", "blocks"]

#: What a person reads who uses taskbridge.
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")),
        ROOT / "benchmarks/README.md",
        *(ROOT / "docs").glob("*.md"),
    ]
)
#: A block, and before it what the text around it takes as given: a comment that nobody sees.
BLOCK = re.compile(r"(?:<!-- given\n(.*?)-->\n+)?^```([^\n]*)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    document: Path
    number: int
    language: str
    title: str
    text: str
    given: str

    @property
    def name(self) -> str:
        """Name of the document and number in it."""
        return f"{self.document.relative_to(ROOT)}-{self.number}"


def blocks(*languages: str) -> list[Block]:
    """Return the blocks in these languages; default all."""
    found = [block for document in DOCUMENTS for block in _of(document)]
    return [block for block in found if not languages or block.language in languages]


def _of(document: Path) -> Iterator[Block]:
    for number, match in enumerate(BLOCK.finditer(document.read_text()), start=1):
        given, head, text = match.groups()
        language, _, rest = head.partition(" ")
        title = re.search(r'title="(.*?)"', rest)
        yield Block(document, number, language, title[1] if title else "", text, given or "")
