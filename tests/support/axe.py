"""What axe-core finds wrong with a page."""

from __future__ import annotations

from typing import Any

from support.process import ROOT

__all__ = ["violations"]

AXE = ROOT / "socket_server" / "web" / "node_modules" / "axe-core" / "axe.min.js"


def violations(page: Any) -> list[tuple[str, list[str]]]:
    """Return the rules that a page breaks, each with where."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then(({ violations }) => violations)")
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]
