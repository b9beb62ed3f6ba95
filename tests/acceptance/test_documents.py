"""What README and docs show can be run, or at least would be accepted by what it is for."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from html.parser import HTMLParser

import click
import pytest

from bridge.cli.commands import cli
from support.documents import DOCUMENTS, blocks
from support.process import ROOT
from support.tools import need
from support.wire import schema

#: Of these a block is known what to do with; `text` is read by people alone,
#: and `make test-images` builds what is in `dockerfile`.
LANGUAGES = {"python", "sh", "console", "html", "js", "jsx", "json", "text", "dockerfile"}
WEB = ROOT / "socket_server" / "web"
#: Celery has no types, and an example may be shorter than a program.
MYPY = """[mypy]
check_untyped_defs = True
ignore_missing_imports = True
follow_untyped_imports = False
disable_error_code = no-redef, empty-body, annotation-unchecked
[mypy-bridge.*,socket_server.*,workers.*]
ignore_errors = True
"""
#: Programs that a person is told to run, beside our own.
PROGRAMS = {
    ".", "cd", "celery", "cp", "curl", "docker", "export", "find", "gunicorn", "kubectl", "ls",
    "make", "pip", "python", "python3", "rabbitmqctl", "sha256sum", "uvicorn", "uwsgi",
}  # fmt: skip


def test_every_block_says_in_what_language_it_is():
    assert {block.language for block in blocks()} <= LANGUAGES
    assert len(blocks()) > 30


@pytest.mark.timeout(300)  # mypy reads the libraries as well
def test_python_blocks_pass_the_type_checker(tmp_path):
    texts = defaultdict(list)
    begun = 0
    for number, block in enumerate(blocks("python")):
        # Blocks of a document go on from one another, but for files, and where something is given.
        if block.title or block.given or block.number == 1:
            begun = number
        name = f"{block.document.stem.lower().replace('-', '_')}_{begun}"
        texts[name] += [block.given, f"# {block.name}\n{block.text}"]
    for name, parts in texts.items():
        (tmp_path / f"{name}.py").write_text("\n".join(parts))
    (tmp_path / "mypy.ini").write_text(MYPY)
    command = [sys.executable, "-m", "mypy", "--config-file", tmp_path / "mypy.ini"]
    done = subprocess.run(
        [*command, *sorted(tmp_path.glob("*.py"))],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "block",
    [block for block in blocks("python") if block.title.startswith("test_")],
    ids=lambda block: block.title,
)
def test_tests_in_the_docs_pass(block, tmp_path):
    (tmp_path / block.title).write_text(block.text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", block.title]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def commands(block):
    """Yield the words of each command of a block that a shell runs."""
    text = block.text
    if block.language == "console":
        text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();|&"):
                yield from without_variables(words)
                words = []
            else:
                words.append(word)


def without_variables(words):
    """Yield a command without the variables that are set for it, and without where it writes."""
    if ">" in words:
        words = words[: words.index(">")]
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    if words:
        yield words


@pytest.mark.parametrize("block", blocks("sh", "console"), ids=lambda block: block.name)
def test_commands_in_the_docs_exist_with_their_options(block):
    if block.language == "sh":
        syntax = ["bash", "-n", "-c", block.text]
        assert subprocess.run(syntax, capture_output=True, timeout=10).returncode == 0
    for words in commands(block):
        program, *arguments = words
        if program == "taskbridge":
            accepted(arguments)
        elif program == "make":
            made = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert arguments[0] in made
        elif program == "pip":
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            asked = re.search(r"taskbridge\[(.*?)\]", " ".join(arguments))
            assert asked is None or set(asked[1].split(",")) <= set(extras["optional-dependencies"])
        else:
            assert program in PROGRAMS, words
            scripts = [word for word in arguments if re.fullmatch(r"\w+/[\w/]+\.py", word)]
            assert all((ROOT / word).exists() for word in scripts)


def accepted(arguments):
    """Have click take the arguments of our own command, without doing what they say."""
    name, *rest = arguments
    command = cli.commands[name]
    with click.Context(cli, info_name="taskbridge") as parent:
        command.make_context(name, rest, parent=parent)


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.name)
def test_json_in_the_docs_is_json(block):
    assert json.loads(block.text)


def test_scripts_in_the_docs_pass_the_type_checker():
    folder = WEB / "build-docs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        for number, block in enumerate(blocks("js", "jsx")):
            ending = "tsx" if block.language == "jsx" else "ts"
            (folder / f"block{number}.{ending}").write_text(
                f"{block.given}\n{block.text}\nexport {{}};\n"
            )
        options = {
            "extends": "../tsconfig.json",
            "compilerOptions": {
                "noEmit": True, "strict": False, "noImplicitAny": False, "jsx": "react-jsx",
                "noUnusedLocals": False, "noUnusedParameters": False,
                "paths": {
                    "taskbridge-client": ["../src/client/index.ts"],
                    "taskbridge-client/react": ["../src/react/index.ts"],
                    "taskbridge-client/svelte": ["../src/svelte/index.ts"],
                    "taskbridge-client/vue": ["../src/vue/index.ts"],
                },
            },
            "include": ["*.ts", "*.tsx"],
        }  # fmt: skip
        (folder / "tsconfig.json").write_text(json.dumps(options))
        done = subprocess.run(
            [need("node"), WEB / "node_modules/typescript/bin/tsc", "-p", folder],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    finally:
        shutil.rmtree(folder)


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.mark.parametrize("block", blocks("html"), ids=lambda block: block.name)
def test_tags_in_the_docs_are_those_of_the_element(block):
    tags = Tags()
    tags.feed(block.text)
    assert tags.found
    for tag, attributes in tags.found:
        assert tag in ("script", "job-progress")
        if tag == "job-progress":
            assert set(attributes) <= {"job", "token", "url", "label", "log"}
        if "/static/" in (source := attributes.get("src", "")) and "celery_progress" not in source:
            assert (WEB / "static" / source.rpartition("/")[2]).exists()


def test_the_documentation_is_built_and_its_links_lead_somewhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    done = subprocess.run(
        [*command, "--site-dir", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    settings = (tmp_path / "site/settings.html").read_text()
    assert "TASKBRIDGE_MAX_BACKLOG" in settings
    api = (tmp_path / "site/api.html").read_text()
    assert "create_app" in api
    assert json.loads((tmp_path / "site/protocol.schema.json").read_text()) == schema()
    assert json.loads((tmp_path / "site/asyncapi.json").read_text())["asyncapi"] == "3.0.0"
    assert json.loads((tmp_path / "site/openapi.json").read_text())["openapi"] == "3.1.0"
    assert 'href="asyncapi.json"' in (tmp_path / "site/protocol.html").read_text()
    assert 'href="protocol.schema.json"' in (tmp_path / "site/protocol.html").read_text()
    loaded = r"<(?:script|link|img)[^>]*(?:src|href)=\"(https?://[^\"]+)"
    pages = [page.read_text() for page in (tmp_path / "site").glob("*.html")]
    elsewhere = {url for page in pages for url in re.findall(loaded, page)}
    assert elsewhere == set(), "nothing is loaded from another machine"


def test_links_to_files_of_the_repository_lead_to_one():
    for document in DOCUMENTS:
        text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not link.startswith(("http", "mailto:")):
                assert (document.parent / link).exists(), f"{document.name}: {link}"
        for path in re.findall(r"`((?:tests|scripts|compose|benchmarks)/[\w./-]+)`", text):
            assert (ROOT / path).exists(), f"{document.name}: {path}"
