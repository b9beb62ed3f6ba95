"""What MkDocs does beside its own: the settings' table, and pages that live outside of docs/."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bridge.settings import reference  # noqa: E402

#: Files of the repository that have a page, by what docs link to them as.
OUTSIDE = {
    "../SECURITY.md": "security.md",
    "../CHANGELOG.md": "changelog.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../benchmarks/README.md": "benchmarks.md",
}
TABLE = "<!-- settings -->"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that live outside of docs/."""
    from mkdocs.structure.files import File

    for source, name in OUTSIDE.items():
        text = (ROOT / source.removeprefix("../")).read_text()
        files.append(File.generated(config, name, content=_inside(text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the table of settings, and let links lead to pages."""
    for source, name in OUTSIDE.items():
        markdown = markdown.replace(f"]({source}", f"]({name}")
    return markdown.replace(TABLE, reference.as_markdown())


def _inside(text: str) -> str:
    """Return the text of a file of the root, or below it, with links as from docs/."""
    text = re.sub(r"\]\((?:\.\./)?docs/([\w./#-]+)\)", r"](\1)", text)
    for source, name in OUTSIDE.items():
        for link in (source, source.removeprefix("../")):
            text = text.replace(f"]({link}", f"]({name}")
    return text
