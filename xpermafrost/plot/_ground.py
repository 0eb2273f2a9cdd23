"""Figures of frozen ground: the trumpet, the section of depth and time, the active layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..diagnostics._profile import SOIL, Temperature, celsius, profile_of
from ..diagnostics._years import COVERAGE, YEAR, max_of_years, mean_of_years, over_years, years_of
from ..errors import DataError, DimensionError
from ..schema import LAYER, SCENARIO, TIME, location_dims
from ._common import (
    COLD,
    RUNS,
    SOIL_CALL,
    WARM,
    axes_of,
    bare,
    decimal_edges,
    entitle,
    lines_of,
    need,
    only_dims,
    runs_of,
    runs_text,
    scenario_label,
    without_lone_runs,
)


def trumpet(soil: Temperature, *, ax: Any = None, title: str | None = None) -> Any:
    """Trumpet curve: annual minimum, mean and maximum of soil temperature with depth. Computes.

    Lines: means over the whole calendar years. Shaded: from the lowest to the highest year; with
    climate models, realizations or members, from the lowest to the highest of these. Drawn at the
    middles of the layers; of monthly data the extremes are those of monthly means, which are
    less than those of days.

    Parameters
    ----------
    soil : DataArray or Dataset
        ``(layer, time)`` [K or degC] of one place and scenario, monthly or daily; optionally with
        ``esm``, ``realization`` or ``member``. A Dataset gives ``tsl`` or ``soil_temperature``.
    ax : matplotlib.axes.Axes, optional
        By default new ones.
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DimensionError
        For other dims, with the selection to type.
    DataError
        If no calendar year is whole.

    References
    ----------
    Harris, S. A. et al. (1988), Glossary of permafrost and related ground-ice terms, NRC Canada
    (ground temperature envelope).

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ax = trumpet(canonical(years=3).sel(band="north"))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('soil temperature [degC]', 'depth [m]')
    """
    warm = _one_profile(soil, "trumpet")
    profile = profile_of(warm, step="trumpet")
    years = years_of(warm, "calendar", step="trumpet")
    warm = warm.transpose(..., LAYER, TIME)
    values = {
        "minimum": -_of_years(max_of_years, -warm, years),
        "mean": _of_years(mean_of_years, warm, years),
        "maximum": _of_years(max_of_years, warm, years),
    }
    runs = runs_of(warm)
    whole = values["mean"].notnull().any([d for d in values["mean"].dims if d != YEAR])
    if not whole.any():
        raise DataError(
            f"trumpet needs a whole calendar year; {warm.name!r} has none with data on "
            f"{COVERAGE:.0%} of its days. Choose the time: da.sel(time=slice('2001', '2010'))."
        )
    kept = [int(year) for year in whole[YEAR].values[whole.values]]
    ax = axes_of(ax, (4.2, 5.0))
    colours = {"minimum": COLD, "mean": "black", "maximum": WARM}
    for name, da in values.items():
        centre = da.mean([YEAR, *runs])
        fan = da.mean(YEAR) if runs else da
        over = runs or [YEAR]
        ax.fill_betweenx(
            profile.depth, fan.min(over), fan.max(over), color=colours[name], alpha=0.18, lw=0
        )
        ax.plot(centre, profile.depth, color=colours[name], lw=1.6, marker="o", ms=3, label=name)
    ax.axvline(0.0, color="0.4", lw=0.9, ls="--")
    ax.set_ylim(profile.bounds[-1, 1], 0.0)
    ax.set(xlabel="soil temperature [degC]", ylabel="depth [m]")
    bare(ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=3, frameon=False, fontsize=8,
              title=f"annual, of {years.step}s", title_fontsize=8)  # fmt: skip
    shaded = f"range of {runs_text(warm, runs)}" if runs else "range of years"
    entitle(ax, title, f"{_where(warm)}{kept[0]}-{kept[-1]}; shaded: {shaded}", warm)
    return ax


def _one_profile(soil: Temperature, step: str) -> xr.DataArray:
    warm = celsius(soil, SOIL, step=step)
    need(warm, (LAYER, TIME), step=step, call=SOIL_CALL)
    only_dims(warm, (LAYER, TIME, *RUNS), step=step)
    return without_lone_runs(warm).compute()


def _of_years(kernel: Any, da: xr.DataArray, years: Any) -> xr.DataArray:
    (out,) = over_years(lambda v: kernel(v, years, COVERAGE), [da], years=years)
    return out


def _where(da: xr.DataArray) -> str:
    """Place and scenario of a selection, as its scalar coordinates tell."""
    names = [
        scenario_label(str(c.values)) if name == SCENARIO else str(c.values)
        for name, c in da.coords.items()
        if c.ndim == 0 and c.dtype.kind in "UO" and not str(name).startswith("period_")
    ]
    return ", ".join(names) + ", " if names else ""


def depth_time(soil: Temperature, *, ax: Any = None, title: str | None = None) -> Any:
    """Soil temperature by depth and time, with the 0 degC isotherm in black. Computes.

    A layer fills the depths between its bounds; what lies between layers or is missing is grey.
    The isotherm is linear between the middles of the layers. Sensors at points (equal bounds) fill
    the depths that are nearest to them.

    Parameters
    ----------
    soil : DataArray or Dataset
        ``(layer, time)`` [K or degC] of one place and scenario, monthly or daily; members and
        climate models are averaged.
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes
        Years (of any calendar) to the right, depth downwards.

    Raises
    ------
    DimensionError, TimeAxisError

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ax = depth_time(canonical(years=3)["tsl"].sel(band="north"))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('year', 'depth [m]')
    """
    warm = _one_profile(soil, "depth_time")
    runs = runs_of(warm)
    averaged = f", mean of {runs_text(warm, runs)}" if runs else ""
    warm = warm.mean(runs, skipna=False, keep_attrs=True).transpose(LAYER, TIME)
    profile = profile_of(warm, step="depth_time")
    years = years_of(warm, "calendar", step="depth_time")
    edges = decimal_edges(warm, years.step, step="depth_time")
    values = np.ma.masked_invalid(warm.values)
    size = np.abs(values.compressed())
    reach = float(np.quantile(size, 0.98)) if size.size else 1.0  # one hot month pales all others
    ax = axes_of(ax, (8.0, 3.2))
    ax.set_facecolor("0.85")
    look = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach, "rasterized": True}
    for row, (top, bottom) in zip(values, _filled(profile.bounds), strict=True):
        mesh = ax.pcolormesh(edges, [top, bottom], row[None, :], **look)
    middles = 0.5 * (edges[1:] + edges[:-1])
    width = float(np.clip(15.0 / (edges[-1] - edges[0]), 0.3, 1.0))  # of many years, fine lines
    if profile.depth.size > 1 and middles.size > 1 and values.min() < 0.0 < values.max():
        ax.contour(middles, profile.depth, values, levels=[0.0], colors="black", linewidths=width)
    ax.set_ylim(_filled(profile.bounds)[-1][1], 0.0)
    ax.set_xlim(edges[0], edges[-1])
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.ticklabel_format(axis="x", useOffset=False)
    ax.set(xlabel="year", ylabel="depth [m]")
    ax.figure.colorbar(mesh, ax=ax, extend="both", label="soil temperature [degC]")
    entitle(ax, title, f"{_where(warm)}{years.step}s{averaged}; line: 0 degC", warm)
    return ax


def _filled(bounds: np.ndarray) -> list[tuple[float, float]]:
    """Depths that each layer fills; of points, halfway to the neighbours."""
    if np.any(bounds[:, 1] > bounds[:, 0]) or len(bounds) < 2:
        return [(float(a), float(b)) for a, b in bounds]
    depth = bounds[:, 0]
    between = 0.5 * (depth[1:] + depth[:-1])
    ends = [max(0.0, 2 * depth[0] - between[0]), *between, 2 * depth[-1] - between[-1]]
    return list(zip(map(float, ends[:-1]), map(float, ends[1:]), strict=True))


def active_layer_trend(
    thickness: xr.DataArray, *, uncertainty: bool = True, ax: Any = None, title: str | None = None
) -> Any:
    """Active-layer thickness by year, with its trend.

    Line: the Theil-Sen slope, with its 95 % interval in the legend. Years in which
    the ground thawed below the profile have no thickness: they are counted, not drawn, and left out
    of the trend, which is then too small.

    Parameters
    ----------
    thickness : DataArray
        ``(year)`` [m] from :func:`xpermafrost.diagnostics.active_layer_thickness`, optionally with
        one more dimension: places or scenarios, a colour each.
    uncertainty : bool
        From ``uncertainty_lower`` to ``uncertainty_upper``, where the array has them: of one
        series a shade, of several a bar each on the right, from and to their medians.
    ax : matplotlib.axes.Axes, optional
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DimensionError
        Without ``year``, or for more dims.

    References
    ----------
    Sen, P. K. (1968), Estimates of the regression coefficient based on Kendall's tau, Journal of
    the American Statistical Association 63.

    Examples
    --------
    >>> years = np.arange(2001, 2011)
    >>> alt = xr.DataArray(
    ...     0.5 + 0.01 * (years - 2001), {"year": years}, ("year",), attrs={"units": "m"}
    ... )
    >>> ax = active_layer_trend(alt)
    >>> ax.get_legend().get_texts()[0].get_text()
    '+10.0 cm per decade [+10.0, +10.0]'
    """
    series = _yearly(thickness)
    dim = series.dims[0]
    ax = axes_of(ax, (7.0, 3.2 + 0.22 * series.sizes[dim]))
    known = {"uncertainty_lower", "uncertainty_upper"} <= set(series.coords)
    for k, look in enumerate(lines_of(series, dim)):
        one = series.isel({dim: k})
        if uncertainty and known:
            _uncertainty(ax, one, look["color"], k if series.sizes[dim] > 1 else None)
        ax.plot(one[YEAR], one, color=look["color"], marker=look["marker"], ms=3, lw=0.6)
        _trend(ax, one.dropna(YEAR), look, _censored(one))
    bare(ax)
    ax.set_ylim(bottom=0.0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="year", ylabel="active-layer thickness [m]")
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.19), frameon=False, fontsize=8)
    drawn = "shaded" if series.sizes[dim] == 1 else "bars on the right, medians"
    note = f"; {drawn}: bounds of the layers that it ends in" if uncertainty and known else ""
    entitle(ax, title, f"{_where(series)}Theil-Sen trend, 95 % interval{note}", thickness)
    return ax


def _yearly(thickness: xr.DataArray) -> xr.DataArray:
    """``(series, year)``; raises with the call that comes first."""
    if YEAR not in thickness.dims:
        raise DimensionError(
            f"active_layer_trend needs the dim 'year'; {thickness.name!r} has {thickness.dims}. "
            "Type soil.permafrost.active_layer_thickness() first."
        )
    extra = [dim for dim in thickness.dims if dim != YEAR]
    allowed = [*location_dims(thickness)[:1], SCENARIO] if len(extra) > 1 else extra
    only_dims(thickness, (YEAR, *allowed[:1]), step="active_layer_trend")
    series = thickness.compute() if extra else thickness.compute().expand_dims(series=[""])
    return series.transpose(..., YEAR)


def _censored(one: xr.DataArray) -> int:
    """Years that thawed below the profile (status 2 of ``active_layer_thickness``)."""
    return int((one["status"] == 2).sum()) if "status" in one.coords else 0


def _uncertainty(ax: Any, one: xr.DataArray, colour: str, number: int | None) -> None:
    """A shade; of the ``number``-th series a bar beside the last year, as shades would overlap."""
    low, high = (one[f"uncertainty_{n}"] for n in ("lower", "upper"))
    if number is None:
        ax.fill_between(one[YEAR], low, high, step="mid", color=colour, alpha=0.15, lw=0)
        return
    span = float(one[YEAR][-1] - one[YEAR][0])
    at = float(one[YEAR][-1]) + 0.02 * (number + 1.5) * max(span, 1.0)
    ends = [float(edge.where(one.notnull()).median()) for edge in (low, high)]
    ax.plot([at, at], ends, color=colour, lw=1.2, marker="_", ms=5)


def _trend(ax: Any, one: xr.DataArray, look: dict[str, Any], below: int) -> None:
    from scipy.stats import theilslopes

    prefix = f"{look['label']}: " if look["label"] else ""
    note = f"; {below} years below the profile" if below else ""
    style = {"color": look["color"], "ls": look["ls"], "lw": 1.8}
    year, value = one[YEAR].values.astype("float64"), one.values
    if year.size < 3:
        ax.plot([], [], label=f"{prefix}no trend from {year.size} years{note}", **style)
        return
    found = theilslopes(value, year, alpha=0.95)
    slope, low, high = (1000.0 * s for s in (found.slope, found.low_slope, found.high_slope))
    label = f"{prefix}{slope:+.1f} cm per decade [{low:+.1f}, {high:+.1f}]{note}"
    ends = np.array([year[0], year[-1]])
    ax.plot(ends, found.intercept + found.slope * ends, label=label, **style)
