"""HTML from parts: what is not HTML already is escaped where it enters."""

from __future__ import annotations

import base64
import html
import io
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from .style import STYLE

#: Nothing is loaded and nothing runs, whatever a name or an attribute may hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_VOID = ("meta", "link", "img", "br")


class Html(str):
    """Text that is HTML already. Everything else is text, and escaped."""

    __slots__ = ()


Content = object | Sequence[object]

#: In the place of a number that is not there.
NONE = Html("&ndash;")


def element(name: str, content: Content = (), attrs: Mapping[str, object] | None = None) -> Html:
    """An element; content and values of attributes are escaped unless they are :class:`Html`.

    Examples
    --------
    >>> element("p", ["1 < 2, ", element("b", "R&D")], {"title": 'so "called"'})
    '<p title="so &quot;called&quot;">1 &lt; 2, <b>R&amp;D</b></p>'
    """
    given = "".join(f' {key}="{html.escape(str(value))}"' for key, value in (attrs or {}).items())
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(content)}</{name}>")


def joined(content: Content) -> Html:
    """Parts one after the other, as HTML.

    Examples
    --------
    >>> joined(["a < b", Html("<br>"), 3])
    'a &lt; b<br>3'
    """
    if isinstance(content, Html):
        return content
    if isinstance(content, Sequence) and not isinstance(content, str):
        return Html("".join(joined(part) for part in content))
    return Html(html.escape(str(content)))


def paragraph(text: Content, kind: str | None = None) -> Html:
    return element("p", text, None if kind is None else {"class": kind})


def bullets(items: Sequence[Content], kind: str = "ul") -> Html:
    return element(kind, [element("li", item) for item in items])


def number(value: float, form: str = ".2f") -> Html:
    """A number as people read it, with more of its digits beside; a dash where there is none.

    Examples
    --------
    >>> number(0.12345), number(-0.001, "+.2f"), number(float("nan"))
    ('<data value="0.12345">0.12</data>', '<data value="-0.001">0.00</data>', '&ndash;')
    """
    value = float(value)
    if not math.isfinite(value):
        return NONE
    text = f"{value:{form}}"
    if float(text) == 0.0:  # neither -0.00 nor +0.00
        text = text.lstrip("+-")
    return element("data", text, {"value": f"{value:.6g}"})


class Rows:
    """The rows of a table under construction: a heading and cells each."""

    def __init__(self) -> None:
        self.rows: list[tuple[tuple[Content, ...], list[Content], bool]] = []

    def add(self, head: Content, cells: Sequence[Content], *, own: bool = False) -> None:
        """One row; ``head`` may be a tuple of several headings; ``own`` stands out."""
        heads = head if isinstance(head, tuple) else (head,)
        self.rows.append((heads, list(cells), own))


def table(
    caption: Content,
    heads: Sequence[Content],
    rows: Rows,
    *,
    groups: Sequence[tuple[str, int]] = (),
    wide: bool = False,
) -> Html:
    """A table with scopes, in a region that scrolls sideways and takes the focus.

    ``heads`` name the columns, those of the row headings first. ``groups`` are headings above
    them, each with its number of columns.
    """
    lead = len(rows.rows[0][0]) if rows.rows else 1
    right = [_is_number(cell) for cell in rows.rows[0][1]] if rows.rows else []
    right = [False] * lead + right + [False] * len(heads)
    top = []
    if groups:
        blank = Html("<td></td>" * lead)
        over = [element("th", n, {"scope": "colgroup", "colspan": str(k)}) for n, k in groups]
        top.append(element("tr", [blank, *over]))
    columns = [
        element("th", head, {"scope": "col", **({"class": "number"} if right[k] else {})})
        for k, head in enumerate(heads)
    ]
    top.append(element("tr", columns))
    body = []
    for names, cells, own in rows.rows:
        row = [element("th", name, {"scope": "row"}) for name in names]
        row += [element("td", c, {"class": "number"} if _is_number(c) else None) for c in cells]
        body.append(element("tr", row, {"class": "own"} if own else None))
    inner = [
        element("caption", caption),
        element("thead", top),
        element("tbody", body),
    ]
    label = html.unescape(_bare(joined(caption)))
    outer = {"class": "scroll", "role": "region", "aria-label": label, "tabindex": "0"}
    return element("div", element("table", inner, {"class": "wide"} if wide else None), outer)


def _is_number(cell: Content) -> bool:
    return isinstance(cell, Html) and (cell.startswith("<data") or cell == NONE)


def _bare(text: str) -> str:
    """HTML without its tags."""
    out, inside = [], False
    for letter in text:
        inside = letter == "<" or (inside and letter != ">")
        if not inside and letter != ">":
            out.append(letter)
    return "".join(out)


def picture(drawing: Any, *, alt: str, caption: Content, dpi: int = 110) -> Html:
    """A matplotlib figure as PNG inside the page. The figure is closed."""
    from PIL import Image

    from ..plot._common import pyplot

    buffer, small = io.BytesIO(), io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    pyplot().close(drawing)
    with Image.open(buffer) as image:  # 256 colours are plenty, and a third of the bytes
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            small, format="png", optimize=True
        )
    data = small.getvalue()
    width, height = struct.unpack(">II", data[16:24])  # of the header chunk, IHDR
    shown = element(
        "img",
        attrs={
            "src": f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}",
            "alt": alt,
            "width": str(width),
            "height": str(height),
        },
    )
    return element("figure", [shown, element("figcaption", caption)])


def folded(summary: str, content: Content) -> Html:
    """What opens on a click, and is open on paper."""
    return element("details", [element("summary", summary), content])


def section(key: str, title: str, content: Content) -> Html:
    head = element("h2", title, {"id": f"{key}-title"})
    return element("section", [head, content], {"id": key, "aria-labelledby": f"{key}-title"})


def page(
    title: str, lead: Content, sections: Mapping[tuple[str, str], Content], foot: Content
) -> str:
    """The whole document; ``sections`` by key and title."""
    links = [element("a", name, {"href": f"#{key}"}) for key, name in sections]
    head = [
        element("meta", attrs={"charset": "utf-8"}),
        element("meta", attrs={"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element(
            "meta", attrs={"name": "viewport", "content": "width=device-width, initial-scale=1"}
        ),
        element("link", attrs={"rel": "icon", "href": "data:,"}),
        element("title", title),
        element("style", Html(STYLE)),
    ]
    contents = element("nav", bullets(links, "ol"), {"aria-label": "Contents"})
    body = [
        element("a", "Skip to the content", {"class": "skip", "href": "#content"}),
        element("header", [element("h1", title), lead, contents]),
        element(
            "main",
            [section(key, name, content) for (key, name), content in sections.items()],
            {"id": "content"},
        ),
        element("footer", foot),
    ]
    whole = element("html", [element("head", head), "\n", element("body", body)], {"lang": "en"})
    return f"<!DOCTYPE html>\n{whole}\n"
