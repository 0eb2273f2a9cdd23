"""Variables that fit together after each was adjusted for itself.

Univariate adjustment can leave more snowfall than precipitation, or a snow depth without snow
mass. Only what is sure for means over time and area is corrected, every correction is counted,
and data without fault come back as they were.
"""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from ._checks import check_units
from .schema import VARIABLES

#: What each rule says, for the attributes.
_WORDS = {
    "negative": "below 0",
    "full": "above the whole",
    "snowfall": "above precipitation",
    "snow": "without snow mass or depth beside it",
}


def make_consistent(ds: xr.Dataset) -> xr.Dataset:
    """Correct what cannot be, count it, and leave the rest.

    * No negative value of what starts at 0 in the variable table (precipitation, snowfall,
      shortwave radiation, snow, soil water); shares within 0 and 1, or 0 and 100 %.
    * Snowfall is at most precipitation.
    * Snow depth and snow mass are 0 together: where one is 0, the other becomes 0.

    Fields stay lazy on dask; the counts are computed at once.

    Parameters
    ----------
    ds : Dataset
        Canonical, of any dims; rules whose variables are missing are left out.

    Returns
    -------
    Dataset
        As ``ds``. A corrected variable says so in its attribute ``consistency`` (how many
        values, which rule, the mean change over all values), the Dataset in ``history``. NaN stays
        NaN and corrects nothing. Identical to ``ds`` where nothing is wrong.

    Raises
    ------
    UnitsError
        If a variable of the rules is not in the units of the variable table.

    Notes
    -----
    Not corrected, because not sure for a mean over a month and a region: a surface above 273.15 K
    under snow (snow-free days and places), soil water beyond the pores (ground ice in excess),
    sensible and latent heat of either sign, snow cover against depth.

    Examples
    --------
    >>> ds = xr.Dataset({n: ("time", v, VARIABLES[n].attrs) for n, v in
    ...                  {"pr": [2e-5, 1e-5], "prsn": [3e-5, 0.0]}.items()})
    >>> out = make_consistent(ds)
    >>> out["prsn"].values.tolist(), out["prsn"].attrs["consistency"]
    ([2e-05, 0.0], '1 of 2 values above precipitation; mean change -5e-06 kg m-2 s-1')
    """
    fields = {
        str(name): da
        for name, da in ds.data_vars.items()
        if name in VARIABLES and da.dtype.kind == "f"
    }
    for name in fields:
        if _low(name) is not None or _high(name) is not None:
            check_units(fields[name], name)
    new = dict(fields)
    counts: dict[str, xr.DataArray] = {}
    low = {n: da.clip(min=0.0) for n, da in new.items() if _low(n) is not None}
    _count(new, low, "negative", counts)
    high = {n: da.clip(max=_high(n)) for n, da in new.items() if _high(n) is not None}
    _count(new, high, "full", counts)
    if {"pr", "prsn"} <= set(new):
        most = new["prsn"].where(~(new["prsn"] > new["pr"]), new["pr"])
        _count(new, {"prsn": most}, "snowfall", counts)
    if {"snd", "snw"} <= set(new):
        none = (new["snd"] == 0) | (new["snw"] == 0)
        bare = {n: new[n].where(~none | new[n].isnull(), 0.0) for n in ("snd", "snw")}
        _count(new, bare, "snow", counts)
    return _written(ds, fields, new, counts)


def _low(name: str) -> float | None:
    return 0.0 if VARIABLES[name].valid_range[0] == 0 else None


def _high(name: str) -> float | None:
    return {"%": 100.0, "1": 1.0}.get(VARIABLES[name].units)


def _count(
    fields: dict[str, xr.DataArray],
    changed: Mapping[str, xr.DataArray],
    rule: str,
    counts: dict[str, xr.DataArray],
) -> None:
    """Take the changed fields over, and how many of their values changed."""
    for name, da in changed.items():
        da = da.transpose(*fields[name].dims)
        counts[f"{name}/{rule}"] = (da != fields[name]).sum() - fields[name].isnull().sum()
        fields[name] = da


def _written(
    ds: xr.Dataset,
    old: Mapping[str, xr.DataArray],
    new: Mapping[str, xr.DataArray],
    counts: Mapping[str, xr.DataArray],
) -> xr.Dataset:
    touched = {key.split("/")[0] for key in counts}
    shifts = {f"{n}/shift": (new[n] - old[n]).mean() for n in touched}
    found = xr.Dataset({k: v.drop_vars(list(v.coords)) for k, v in {**counts, **shifts}.items()})
    found = found.compute()
    out, lines = ds, []
    for name in old:
        parts = [
            f"{int(found[f'{name}/{rule}'])} of {old[name].size} values {words}"
            for rule, words in _WORDS.items()
            if f"{name}/{rule}" in counts and int(found[f"{name}/{rule}"])
        ]
        if not parts:
            continue
        shift = float(found[f"{name}/shift"])
        text = f"{', '.join(parts)}; mean change {shift:.3g} {VARIABLES[name].units}"
        attrs = {**ds[name].attrs, "consistency": text}
        out = out.assign({name: ds[name].copy(data=new[name].data).assign_attrs(attrs)})
        lines.append(f"xpermafrost.make_consistent: {name}: {text}")
    if not lines:
        return ds.copy(deep=False)
    earlier = str(ds.attrs.get("history", ""))
    return out.assign_attrs(history="\n".join([*([earlier] if earlier else []), *lines]))


__all__ = ["make_consistent"]
