"""What MkDocs does beside its own: the settings' table, the schema, pages from outside of docs/."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bridge.settings import reference  # noqa: E402
from scripts import descriptions, protocol_schema  # noqa: E402

#: Files of the repository that have a page, by what docs link to them as.
OUTSIDE = {
    "../SECURITY.md": "security.md",
    "../CHANGELOG.md": "changelog.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../benchmarks/README.md": "benchmarks.md",
}
TABLE = "<!-- settings -->"
#: Generated files; links only on the site, since the repository does not have them.
GENERATED = {
    "protocol.schema.json": protocol_schema.as_json,
    "asyncapi.json": lambda: descriptions.as_json(descriptions.asyncapi()),
    "openapi.json": lambda: descriptions.as_json(descriptions.openapi()),
}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that live outside of docs/, and the generated descriptions of the protocol."""
    from mkdocs.structure.files import File

    for source, name in OUTSIDE.items():
        text = (ROOT / source.removeprefix("../")).read_text()
        files.append(File.generated(config, name, content=_inside(text)))
    for name, made in GENERATED.items():
        files.append(File.generated(config, name, content=made()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the table of settings, and let links lead to pages and to generated files."""
    for source, name in OUTSIDE.items():
        markdown = markdown.replace(f"]({source}", f"]({name}")
    for name in GENERATED:
        markdown = markdown.replace(f"`{name}`", f"[`{name}`]({name})")
    return markdown.replace(TABLE, reference.as_markdown())


def _inside(text: str) -> str:
    """Return the text of a file of the root, or below it, with links as from docs/."""
    text = re.sub(r"\]\((?:\.\./)?docs/([\w./#-]+)\)", r"](\1)", text)
    for source, name in OUTSIDE.items():
        for link in (source, source.removeprefix("../")):
            text = text.replace(f"]({link}", f"]({name}")
    return text
