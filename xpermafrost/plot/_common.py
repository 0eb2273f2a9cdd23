"""What the figures share: axes, colours, labels, refusals."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .._checks import check_steps, month_index
from .._optional import require
from ..errors import DimensionError, MissingVariableError
from ..schema import ESM, LAYER, MEMBER, REALIZATION, SCENARIO, TIME, layer_bounds, location_dims

#: Colours of scenarios, distinct to the colour-blind (Okabe & Ito 2008); blue cool, red warm.
SCENARIO_COLOURS = {
    "rcp26": "#0072B2",
    "ssp126": "#0072B2",
    "rcp45": "#009E73",
    "ssp245": "#009E73",
    "rcp60": "#E69F00",
    "ssp370": "#E69F00",
    "rcp85": "#D55E00",
    "ssp585": "#D55E00",
}
#: The rest of Okabe & Ito, for lines that are no scenarios.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
COLD, WARM = "#0072B2", "#D55E00"
#: Dims whose labels are different answers to one question; figures show them as a fan.
RUNS = (ESM, REALIZATION, MEMBER)
#: What comes before a figure of soil temperature.
SOIL_CALL = "ds['tsl'] or ds.permafrost.project(model)"
_RUN_WORDS = {ESM: "climate models", REALIZATION: "realizations", MEMBER: "members"}
_STYLES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LABELS = {"rcp26": "RCP2.6", "rcp45": "RCP4.5", "rcp60": "RCP6.0", "rcp85": "RCP8.5"}


def scenario_label(name: str) -> str:
    """``"RCP8.5"`` for ``"rcp85"``, ``"SSP5-8.5"`` for ``"ssp585"``.

    Examples
    --------
    >>> scenario_label("ssp126"), scenario_label("rcp45")
    ('SSP1-2.6', 'RCP4.5')
    """
    if name in _LABELS:
        return _LABELS[name]
    if name.startswith("ssp") and len(name) == 6 and name[3:].isdigit():
        return f"SSP{name[3]}-{name[4]}.{name[5]}"
    return name


def pyplot() -> Any:
    """matplotlib.pyplot, or the message that says what to install."""
    return require(
        "matplotlib.pyplot", purpose="figures", install="pip install 'xpermafrost[plot]'"
    )


def need(
    obj: xr.DataArray | xr.Dataset, names: Sequence[Hashable], *, step: str, call: str
) -> None:
    """Raise where a Dataset lacks variables, or an array dims, with the call that comes first."""
    if isinstance(obj, xr.Dataset):
        missing = [name for name in names if name not in obj.variables]
        if missing:
            have = [str(name) for name in obj.data_vars]
            raise MissingVariableError(
                f"{step} needs the variables {missing}; the Dataset has {have}. Type {call} first."
            )
    elif not set(names) <= set(obj.dims):
        raise DimensionError(
            f"{step} needs dims {tuple(names)}; {obj.name!r} has {obj.dims}. Type {call} first."
        )


def axes_of(ax: Any, size: tuple[float, float], *, layout: str = "constrained") -> Any:
    """The axes given, or new ones of a size [inch]."""
    plt = pyplot()
    return plt.subplots(figsize=size, layout=layout)[1] if ax is None else ax


def bare(ax: Any) -> None:
    """No frame above and on the right."""
    ax.spines[["top", "right"]].set_visible(False)


def mark(obj: xr.DataArray | xr.Dataset) -> str:
    """What is simulated is marked in every figure, under every title."""
    return "  |  SIMULATED" if "simulated" in obj.attrs else ""


def entitle(ax: Any, title: str | None, given: str, *marked: xr.DataArray | xr.Dataset) -> None:
    """One's own title, or the one that says what is drawn and how; with the mark."""
    note = _note(marked)
    width = ax.get_position().width * ax.figure.get_figwidth()  # inch
    text = (given if title is None else title) + note.replace("  |  ", "\n")
    lines = [_wrapped(line, max(24, int(15 * width))) for line in text.split("\n")]
    ax.set_title("\n".join(lines), fontsize=9)


def entitle_figure(
    figure: Any, title: str | None, given: str, *marked: xr.DataArray | xr.Dataset
) -> None:
    """As :func:`entitle`, of a figure of several panels; in one line where there is room."""
    width = max(24, int(11.5 * figure.get_figwidth()))
    text = (given if title is None else title) + _note(marked)
    if len(text) > width:
        text = text.replace("  |  ", "\n")
    figure.suptitle("\n".join(_wrapped(line, width) for line in text.split("\n")), fontsize=11)


def _note(marked: Sequence[xr.DataArray | xr.Dataset]) -> str:
    return next((mark(obj) for obj in marked if mark(obj)), "")


def _wrapped(line: str, width: int) -> str:
    """In lines of about one length, none longer than ``width``."""
    count = len(textwrap.wrap(line, width))
    return textwrap.fill(line, min(width, len(line) // max(count, 1) + 8))


def layer_label(top: float, bottom: float) -> str:
    """``"0-0.07 m"``; of a sensor its depth."""
    return f"{top:g} m" if top == bottom else f"{top:g}-{bottom:g} m"


def layer_labels(obj: xr.DataArray | xr.Dataset) -> list[str]:
    """Of every layer, by its bounds; by its number where it has none."""
    try:
        return [layer_label(*edges) for edges in layer_bounds(obj)]
    except DimensionError:
        return [f"layer {k}" for k in obj[LAYER].values]


def along_layers(obj: xr.Dataset) -> xr.Dataset:
    """With the dim ``layer`` also where one layer was selected."""
    if LAYER in obj.dims:
        return obj
    known = [name for name in (LAYER, "depth", "depth_top", "depth_bottom") if name in obj.coords]
    coords = {name: (LAYER, [obj[name].item()], obj[name].attrs) for name in known}
    return obj.drop_vars(known).expand_dims(LAYER).assign_coords(coords)


def labels_of(obj: xr.DataArray | xr.Dataset, dim: Hashable) -> list[str]:
    """Names along a dim as a figure writes them."""
    if dim == LAYER:
        return layer_labels(obj)
    if dim == SCENARIO:
        return [scenario_label(str(name)) for name in obj[dim].values]
    return [str(name) for name in obj[dim].values]


def lines_of(obj: xr.DataArray | xr.Dataset, dim: Hashable) -> list[dict[str, Any]]:
    """Colour, line style, marker and label of every line along a dim, no two alike.

    Scenarios have their own colours; styles and markers tell lines apart in grey as well.
    """
    names = [str(name) for name in obj[dim].values]
    own = [SCENARIO_COLOURS.get(name) if dim == SCENARIO else None for name in names]
    free = itertools.cycle([colour for colour in COLOURS if colour not in own] or COLOURS)
    colours = [colour or next(free) for colour in own]
    return [
        {"color": colour, "ls": style, "marker": marker, "label": label}
        for colour, style, marker, label in zip(
            colours,
            itertools.cycle(_STYLES),
            itertools.cycle(_MARKERS),
            labels_of(obj, dim),
            strict=False,
        )
    ]


def runs_of(obj: xr.DataArray) -> list[str]:
    """Dims of different answers to one question that it has."""
    return [dim for dim in RUNS if dim in obj.dims]


def without_lone_runs(obj: xr.DataArray) -> xr.DataArray:
    """One climate model, realization or member is no fan: its dim is dropped."""
    return obj.squeeze([dim for dim in runs_of(obj) if obj.sizes[dim] == 1], drop=True)


def runs_text(obj: xr.DataArray, runs: Sequence[str]) -> str:
    """``"3 climate models and 2 members"``."""
    return " and ".join(f"{obj.sizes[dim]} {_RUN_WORDS[dim]}" for dim in runs)


def north_first(da: xr.DataArray, place: Hashable) -> np.ndarray:
    """Order of the places from north to south, or as they are."""
    if "lat" in da.coords and da["lat"].dims == (place,):
        return np.argsort(-da["lat"].values, kind="stable")
    return np.arange(da.sizes[place])


def one_place_dim(
    da: xr.DataArray, *, step: str, besides: Sequence[Hashable] = ()
) -> tuple[xr.DataArray, Hashable]:
    """With exactly one location dim, and which; raises for more. ``besides`` are no locations."""
    places = tuple(dim for dim in location_dims(da) if dim not in besides)
    if len(places) > 1:
        raise DimensionError(
            f"{step} draws one location dim, a row of panels each; {da.name!r} has "
            f"{places}. Reduce or stack it first: da.mean('lon')."
        )
    return (da, places[0]) if places else (da.expand_dims(place=[""]), "place")


def only_dims(da: xr.DataArray, allowed: Sequence[Hashable], *, step: str) -> None:
    """Raise for dims that a figure cannot show, with the selection to type."""
    extra = [dim for dim in da.dims if dim not in allowed]
    if extra:
        select = ", ".join(f"{dim}={da[dim].values[0].item()!r}" for dim in extra)
        raise DimensionError(
            f"{step} draws the dims {tuple(allowed)}; {da.name!r} has {tuple(extra)} as well. "
            f"Select one, da.sel({select}), or average: da.mean({[str(d) for d in extra]})."
        )


def decimal_edges(da: xr.DataArray, every: str, *, step: str) -> np.ndarray:
    """Beginnings of the months or days, and the end of the last, in years of any calendar."""
    check_steps(da, every, step=step)
    time = da[TIME]
    if every == "month":
        months = month_index(time)
        return np.append(months, months[-1] + 1) / 12.0
    length = 365.0 + np.asarray(time.dt.is_leap_year.values, dtype="float64")
    if str(time.dt.calendar) == "360_day":
        length = np.full(time.size, 360.0)
    year = time.dt.year.values + (time.dt.dayofyear.values - 1) / length
    return np.append(year, year[-1] + 1.0 / length[-1])
