"""README and documentation name only what is there: pages, headings, files, functions, options."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import xpermafrost as xp
from xpermafrost._cli_arguments import make_parser
from xpermafrost.accessor import PermafrostDataArray, PermafrostDataset

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md"]
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
#: What the build makes from ``examples/`` and the docstrings.
BUILT = ("gallery/", "generated/")
PER_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def inline(page: Path) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))


def anchors(page: Path) -> set[str]:
    """Headings down to the third level as links name them, and targets set by hand."""
    text = prose(page)
    found = set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))
    for heading in re.findall(r"^#{1,3} (.+)$", text, re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.strip().replace(" ", "-"))
    return found


@PER_PAGE
def test_links_lead_somewhere(page):
    text = prose(page)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    targets += re.findall(r"\{download\}`([^`]+)`", text)
    for target in targets:
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        if name.startswith(BUILT):
            assert (ROOT / "examples").is_dir()
            continue
        there = page.parent / name if name else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}; there are {anchors(there)}"


def test_every_page_and_image_is_reached():
    index = (DOCS / "index.md").read_text()
    tree = re.search(r"```\{toctree\}(.*?)```", index, re.DOTALL)[1]
    entries = set(re.findall(r"<([\w/]+)>", tree))
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert entries == pages | {"gallery/index"}
    for page in pages:
        assert f"({page}.md)" in index, f"{page} is in the menu only"
    text = "".join(page.read_text() for page in PAGES)
    for image in (DOCS / "images").iterdir():
        assert f"images/{image.name})" in text, f"no page shows {image.name}"


def test_images_have_alternative_texts():
    for page in PAGES:
        for alternative, name in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text()):
            assert len(alternative) > 15, f"{page.name}: {name}"


@PER_PAGE
def test_files_that_are_named_are_there(page):
    text = page.read_text()
    for name in re.findall(r"\b((?:docs|examples|benchmarks|tests|xpermafrost)/[\w/]+\.\w+)", text):
        assert (ROOT / name).exists(), f"{page.name}: {name}"
    for module in re.findall(r"python -m (benchmarks\.[a-z]\w+|xpermafrost[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for name in re.findall(r"`(bench_\w+)`", text):
        assert (ROOT / "benchmarks" / f"{name}.py").exists(), f"{page.name}: {name}"


@PER_PAGE
def test_extras_that_are_named_are_there(page):
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    text = page.read_text()
    named = re.findall(r"(?:xpermafrost|\.|`)\[([\w,]+)\](?=['\"`])", text)
    named += re.findall(r"[Ee]xtra `?\"?(\w+)`?\"?", text)
    for group in named:
        assert set(group.split(",")) <= extras, f"{page.name}: {group}"


def named_objects(page: Path) -> Iterator[str]:
    """Names below ``xp`` and ``xpermafrost`` in prose and code."""
    for name in re.findall(r"\bxp\.((?:\w+\.)*\w+)", page.read_text()):
        yield name
    for name in re.findall(r"\bxpermafrost\.((?:\w+\.)*\w+)(?=[(`])", prose(page)):
        yield name


@PER_PAGE
def test_names_that_are_named_are_there(page):
    for name in set(named_objects(page)):
        found: object = xp
        for part in name.split("."):
            if isinstance(found, dict):  # a registry: what follows is a method of dict
                break
            if inspect.ismodule(found):
                with contextlib.suppress(ImportError):  # a module of the package, not yet imported
                    importlib.import_module(f"{found.__name__}.{part}")
            assert hasattr(found, part), f"{page.name}: xp.{name}"
            found = getattr(found, part)
    methods = {name for kind in (PermafrostDataset, PermafrostDataArray) for name in dir(kind)}
    for name in re.findall(r"\.permafrost\.(\w+)", page.read_text()):
        assert name in methods, f"{page.name}: .permafrost.{name}"


def functions() -> dict[str, list[inspect.Signature]]:
    """Signatures by name of everything that inline code may call."""
    from xpermafrost import diagnostics, physics, plot, recipes
    from xpermafrost.fitted import FittedModel

    found: dict[str, list[inspect.Signature]] = {}
    spaces = (xp, diagnostics, physics, plot, recipes, xp.bias, xp.datasets, FittedModel)
    for space in (*spaces, PermafrostDataset, PermafrostDataArray):
        for name in dir(space):
            value = getattr(space, name)
            if callable(value) and not name.startswith("_"):
                with contextlib.suppress(ValueError, TypeError):
                    found.setdefault(name, []).append(inspect.signature(value))
    return found


@pytest.fixture(scope="module")
def signatures():
    return functions()


@PER_PAGE
def test_options_of_inline_calls_exist(page, signatures):
    """``fit(..., places="any")`` in a sentence: the function takes such an argument."""
    for text in inline(page):
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            keywords = {keyword.arg for keyword in call.keywords}
            if name in signatures and keywords:
                taken = [set(signature.parameters) for signature in signatures[name]]
                assert any(keywords <= one for one in taken), f"{page.name}: {text}"


@PER_PAGE
def test_options_of_the_command_line_exist(page):
    parser = make_parser(dict.fromkeys(COMMANDS, lambda options: 0))
    known = {option for command in subparsers(parser).values() for option in command}
    scripts = {path: path.read_text() for path in ROOT.glob("examples/*.py")}
    scripts |= {path: path.read_text() for path in ROOT.glob("benchmarks/*.py")}
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    for line in text.splitlines():
        options = set(re.findall(r"(?<![\w-])(--[a-z][\w-]+)", line))
        if re.match(r"\s*(\$ )?xpermafrost (\w+)", line):
            command = re.match(r"\s*(\$ )?xpermafrost (\w+)", line)[2]
            assert options <= set(subparsers(parser)[command]), f"{page.name}: {line}"
        elif page.stem == "howto_cli":
            assert options <= known | {"--help"}, f"{page.name}: {line}"
        else:
            sources = [
                body for path, body in scripts.items() if f"{path.parent.name}" in line
                and path.stem in line
            ]  # fmt: skip
            for option in options if sources else ():
                assert any(option in body for body in sources), f"{page.name}: {option}"


COMMANDS = ("demo", "identify", "standardize", "project", "evaluate", "report")


def subparsers(parser) -> dict[str, list[str]]:
    """Commands and their options."""
    (action,) = (a for a in parser._actions if hasattr(a, "choices") and a.choices)
    return {name: list(sub._option_string_actions) for name, sub in action.choices.items()}


CITED = re.compile(
    r"([A-ZÉ][\wé-]+(?: [A-Z][\w-]+)?)(?:'s)?"
    r"(?:(?:, [A-Z][\w-]+)* and [A-Z][\w-]+| et al\.)?,? \(?((?:1[6-9]|20)\d\d)\b(?!-\d)"
)
#: Words before a year that are no authors.
NO_AUTHORS = re.compile(
    r"^(January|February|March|April|May|June|July|August|September|October|November|December|"
    r"In|From|Over|Yakutia|Zhigansk|RCP|SSP)\b"
)


def references() -> str:
    """All lists of references, a line each."""
    lines = []
    for page in DOCS.glob("*.md"):
        parts = re.split(r"^## (?:References?|Sources)\n", page.read_text(), flags=re.MULTILINE)
        lines += [] if len(parts) == 1 else re.split(r"\n- |\n\n", "\n" + parts[1])
    return "\n".join(" ".join(line.split()) for line in lines)


@PER_PAGE
def test_what_is_cited_is_in_a_list_of_references(page):
    body = re.split(r"^## (?:References?|Sources)\n", prose(page), flags=re.MULTILINE)[0]
    listed = references()
    for author, year in CITED.findall(" ".join(body.split())):
        if NO_AUTHORS.match(author):
            continue
        name = author.split()[-1]
        entry = rf"{name}\b[^\n]*\({year}\)"
        assert re.search(entry, listed), f"{page.name}: {author} {year}"


def test_what_is_listed_is_cited():
    """A list holds what docs or docstrings name, no more."""
    sources = [path.read_text() for path in (ROOT / "xpermafrost").rglob("*.py")]
    for page in DOCS.glob("*.md"):
        sources.append(re.split(r"^## References?\n", page.read_text(), flags=re.MULTILINE)[0])
    text = " ".join(" ".join(sources).split())
    for line in re.findall(r"^- (\w[^\n]+\(\d{4}\))", (DOCS / "science.md").read_text(), re.M):
        author, year = re.match(r"(?:de )?([\wé-]+)", line)[1], re.search(r"\((\d{4})\)", line)[1]
        assert re.search(rf"{author}(?:[^.;]|[A-Z]\.|al\.){{0,90}}{year}", text), line
