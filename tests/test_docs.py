"""The documentation builds without warnings, names everything public, and its code runs."""

from __future__ import annotations

import contextlib
import doctest
import html
import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

import xpermafrost as xp

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
#: Blocks marked by a comment on the line before, or a script to run in their place; and what a
#: block prints, with ... for what differs from run to run. ``<!-- run -->`` before a bash block
#: runs the commands of xpermafrost in it.
RUN = re.compile(
    r"<!-- run(?:: (?P<script>\S+))? -->\n(?:(?:```(?P<language>python|bash)\n)(?P<code>.*?)\n```)?"
    r"(?:\n\n<!-- output -->\n```text\n(?P<output>.*?\n)```)?",
    re.DOTALL,
)


def blocks(page: Path) -> list[tuple[str, str, str | None]]:
    """Name, code and output of every block of ``page`` that is marked ``<!-- run -->``."""
    text, found = page.read_text(), []
    for match in RUN.finditer(text):
        line = text[: match.start()].count("\n") + 3
        if match["script"]:
            found.append((match["script"], (DOCS / match["script"]).read_text(), None))
        else:
            assert match["code"], f"{page.name}:{line}: a run mark without a block of code"
            code = as_python(match["code"]) if match["language"] == "bash" else match["code"]
            # empty lines in front, so that a traceback names the line of the page
            found.append((page.name, "\n" * (line - 1) + code, match["output"]))
    marks = len(re.findall(r"^<!-- output -->$", text, re.MULTILINE))
    assert sum(output is not None for _, _, output in found) == marks, page.name
    return found


def as_python(commands: str) -> str:
    """Calls of the command line for lines of a shell."""
    lines = ["from xpermafrost.cli import main"]
    for line in commands.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "xpermafrost", line
        lines.append(f"assert main({arguments}) == 0, {line!r}")
    return "\n".join(lines)


@pytest.fixture
def registries():
    """Registries that a page may add to, put back afterwards."""
    from xpermafrost.sources import FAMILIES

    saved = [(registry, dict(registry)) for registry in (xp.MODELS, FAMILIES)]
    yield
    for registry, before in saved:
        registry.clear()
        registry.update(before)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.stem)
def test_code_of_the_page_runs(page, tmp_path, monkeypatch, registries):
    pytest.importorskip("matplotlib", reason="the pages draw figures").use("Agg")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": f"docs_{page.stem}"}
    rules = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for name, code, output in blocks(page):
        # a page prints what a reader wants to see, not what a test log needs
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, name, "exec"), namespace)
        if output is not None:
            got = printed.getvalue()
            assert doctest.OutputChecker().check_output(output, got, rules), f"{output}---\n{got}"
    from matplotlib import pyplot as plt

    plt.close("all")


def test_pages_with_code_are_run():
    """A python block without a mark needs data or a device that a test has not."""
    unmarked = {
        "howto_scale": ['device="cuda"', "dask.distributed"],
        "howto_data": ["datasets.fetch(", "request.download("],
        "index": ["alaska_sample"],
    }
    for page in PAGES:
        code = re.findall(r"(<!-- run -->\n)?```python\n(.*?)\n```", page.read_text(), re.DOTALL)
        loose = [body for mark, body in code if not mark]
        for body in loose:
            reasons = unmarked.get(page.stem, [])
            assert any(reason in body for reason in reasons), f"{page.name} is not run:\n{body}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_code_compiles(page):
    for body in re.findall(r"```python\n(.*?)\n```", page.read_text(), re.DOTALL):
        compile(body, page.name, "exec")


@pytest.mark.parametrize("name", xp.__all__)
def test_api_page_names_everything_public(name):
    text = (DOCS / "api.md").read_text()
    named = re.search(
        rf"^(   |\.\. autodata:: xpermafrost\.[\w.]+\.){name}(\.|$)", text, re.MULTILINE
    )
    assert named, f"xpermafrost.{name} is not in docs/api.md"


def test_tables_follow_the_code():
    rows = (DOCS / "conventions.md").read_text().splitlines()
    for name, row in xp.VARIABLES.items():
        start = f"| `{name}` | {row.long_name} | `{row.units}` |"
        assert any(line.startswith(start) for line in rows), start
    science = (DOCS / "science.md").read_text()
    for name in xp.BASELINES:
        assert f"| `{name}` |" in science


def broken_links(site: Path) -> list[str]:
    """Links within a built site to a file or an anchor that is not there."""
    ids, links, missing = {}, [], []
    for path in site.rglob("*.html"):
        if path.relative_to(site).parts[0] in ("_static", "_modules"):
            continue  # templates of the theme; sources, with links that Sphinx makes up
        text = path.read_text()
        ids[path] = set(re.findall(r"\bid=\"([^\"]+)\"", text))
        links += [(path, html.unescape(n)) for n in re.findall(r"\b(?:href|src)=\"([^\"]+)", text)]
    for path, link in links:
        name, _, anchor = urllib.parse.unquote(link).partition("#")
        if re.match(r"\w+:", name) or (not name and not anchor):
            continue
        there = (path.parent / name.partition("?")[0]).resolve() if name else path
        if not there.exists() or (anchor and there in ids and anchor not in ids[there]):
            missing.append(f"{path.relative_to(site)}: {link}")
    return missing


def test_site_builds_without_warnings(tmp_path):
    for package in ("sphinx", "pydata_sphinx_theme", "sphinx_gallery", "myst_parser", "numpydoc"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'xpermafrost[docs]'")
    # a copy: pages are generated beside the sources, and the tree stays as it is
    ignore = shutil.ignore_patterns("_build", "generated", "gallery", "__pycache__")
    shutil.copytree(DOCS, tmp_path / "docs", ignore=ignore)
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=ignore)
    options = ["-W", "--keep-going", "-q", "-D", "plot_gallery=0", "-b", "html"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "docs", "html"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    built = {path.name for path in (tmp_path / "html").glob("*.html")}
    assert {f"{page.stem}.html" for page in PAGES} <= built
    for generated in (
        "generated/xpermafrost.fit.html",
        "gallery/project_alaska.html",
        "gallery/permafrost_map.html",
    ):
        assert (tmp_path / "html" / generated).exists()
    assert not broken_links(tmp_path / "html")
    # nothing is fetched from a server when a page is opened
    text = (tmp_path / "html" / "science.html").read_text()
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=\"https?://", text)
