"""Tables of measurements, in Markdown that reads well on a terminal too."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ._measure import Growth, Taken, exponent
from ._stages import Missing, Work, workers

#: Exponents that are asked for.
ASKED = 1.05

PACKAGES = ("numpy", "xarray", "dask", "torch", "numba", "xsdba", "xarray-regrid", "regionmask")
PACKAGES += ("flox", "exactextract", "xbatcher", "shap", "lightning", "keras")

HEAD = ("", "s", "/ ours", "processor s", "/ ours", "peak MB", "difference")


def number(value: float, digits: int = 3) -> str:
    """``digits`` significant digits without powers of ten, or a dash."""
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}"


def tabulated(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns; the first is text, the others numbers."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(3, *(len(line[k]) for line in lines)) for k in range(len(head))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    padded = [
        [
            cell.ljust(w) if not k else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        for line in (lines[0], rule, *lines[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def ratios(taken: Mapping[str, Taken | Missing], base: str) -> dict[str, tuple[float, float]]:
    """Clock and processor time of each that ran over those of ``base``."""
    first = taken[base]
    assert isinstance(first, Taken)
    return {
        name: (each.clock / first.clock, each.processors / max(first.processors, 1e-9))
        for name, each in taken.items()
        if isinstance(each, Taken)
    }


def _row(name: str, each: Taken | Missing, ratio: tuple[float, float] | None) -> list[str]:
    if isinstance(each, Missing) or ratio is None:
        why = each.why if isinstance(each, Missing) else ""
        return [f"{name}: {why}".replace("|", "/"), *["-"] * (len(HEAD) - 1)]
    off = f"{each.off:.0e}" if math.isfinite(each.off) else "-"
    off = "elsewhere missing" if each.off == math.inf else off
    return [
        name,
        number(each.clock),
        number(ratio[0]),
        number(each.processors),
        number(ratio[1]),
        "-" if math.isnan(each.peak) else f"{each.peak:.0f}",
        off,
    ]


def title(name: str) -> str:
    """Heading of a stage."""
    return name[0].upper() + name[1:]


def section(name: str, work: Work, taken: Mapping[str, Taken | Missing]) -> str:
    """Heading, size and table of one stage: ours, peers, limits."""
    ratio = ratios(taken, work.first)
    rows = []
    for who, each in taken.items():
        label = f"*limit: {who}*" if who in work.limits else who
        rows.append(_row(label, each, ratio.get(who)))
    rounds = max(t.rounds for t in taken.values() if isinstance(t, Taken))
    once = "one round" if rounds == 1 else f"medians of {rounds} rounds"
    return f"### {title(name)}\n\n{work.size}; {once}.\n\n{tabulated(HEAD, rows)}\n"


def growth_table(found: Sequence[Growth]) -> str:
    """Exponents of time and memory by stage, and what they come from."""
    head = ["stage, and what 1x is", "s", "exponent", "4x to 16x"]
    head += ["processor exponent", "peak MB", "exponent"]
    rows = []
    for one in found:
        seconds = ", ".join(number(t.clock) for t in one.taken)
        peaks = ", ".join("-" if math.isnan(t.peak) else f"{t.peak:.0f}" for t in one.taken)
        last = exponent(one.sizes[-2:], [t.clock for t in one.taken[-2:]])
        slopes = [
            "-" if math.isnan(value) else f"{value:.2f}{' > asked' if value > ASKED else ''}"
            for value in (one.clock, one.processors, one.peak)
        ]
        label = f"{one.stage}: {one.base}"
        rows.append([label, seconds, slopes[0], f"{last:.2f}", slopes[1], peaks, slopes[2]])
    return tabulated(head, rows)


def absent(sections: Mapping[str, Mapping[str, Taken | Missing]]) -> list[str]:
    """A line for each peer that took no part."""
    return [
        f"- {name} ({stage}): {each.why}"
        for stage, taken in sections.items()
        for name, each in taken.items()
        if isinstance(each, Missing)
    ]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def _versions() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def machine() -> str:
    """Processor, system and versions, in a sentence each."""
    import torch

    return (
        f"{_processor()}, {workers()} processors, torch on {torch.get_num_threads()}, "
        f"{platform.system()}, Python {platform.python_version()}; {_versions()}."
    )


def load() -> float:
    """Processes that want to run, mean of a minute."""
    return os.getloadavg()[0]
