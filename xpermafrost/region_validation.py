"""Leave-region-out validation: each region is scored by models that have not seen it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ._checks import require_variables
from .errors import DataError, DimensionError, RegionError
from .experiment import reference_of
from .preparation import Period
from .schema import location_dims, name_axis
from .training import TrainingConfig
from .unseen_places import space_for_time

#: Dimension of the regions, one left out at a time.
LEFT_OUT = "region_left_out"


def leave_region_out(
    ds: xr.Dataset,
    models: Sequence[str] | str | None = None,
    *,
    by: str = "region",
    baselines: Sequence[str] | str = "all",
    train: Period | str = "all",
    test: Period | None = None,
    length: int | None = None,
    horizon: int = 0,
    features: Sequence[str] | None = None,
    members: int = 1,
    seed: int = 0,
    config: TrainingConfig | None = None,
    pretrain: xr.Dataset | str | None = "auto",
    bootstrap: int = 500,
    device: str = "cpu",
    jobs: int | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Score every region by models trained on the places of all other regions.

    :func:`xpermafrost.space_for_time`, once for each region: nothing of the soil of a region is
    known where it is scored. Neighbours across a border share their weather: to keep that apart as
    well, give years of training and test that do not overlap.

    Parameters
    ----------
    ds : Dataset
        Canonical and monthly, with ``tsl`` and one location dimension, and the region of each place
        as a coordinate; :func:`xpermafrost.sample_places` makes it.
    models : list of str, optional
        Networks to fit for each region; by default a GRU.
    by : str
        Name of the coordinate that holds the regions.
    baselines, train, test, length, horizon, features, members, seed, config, pretrain, bootstrap
        As for :func:`xpermafrost.space_for_time`.
    device, jobs, progress
        As for :func:`xpermafrost.fit`.

    Returns
    -------
    Dataset
        Scores by place, each from the models that had not seen its region; scores by layer and
        pooled ones along ``region_left_out``.

    Raises
    ------
    RegionError
        If there are fewer than two regions, or ``by`` is no coordinate of the places.
    DimensionError
        If locations have two dimensions.
    DataError
        If a model was fitted already, or cannot answer for an unseen place.

    Examples
    --------
    >>> from xpermafrost.testing import canonical
    >>> ds = canonical(years=6).assign_coords(region=("band", ["warm", "cold", "cold"]))
    >>> scores = leave_region_out(ds, [], baselines=["climatology", "ridge"], bootstrap=0)
    >>> scores["rmse_pooled"].dims, scores["rmse"].sizes["band"]
    (('region_left_out', 'model'), 3)
    """
    reference = reference_of(ds)
    require_variables(reference, ("tsl",), step="leave-region-out validation")
    dims = location_dims(reference["tsl"])
    if len(dims) != 1:
        raise DimensionError(
            f"leave-region-out validation needs one location dimension; 'tsl' has {dims}. Draw "
            "places first: xp.sample_places(ds, 1000, regions=regions)."
        )
    fitted = [m for m in ([] if models is None else models) if not isinstance(m, str)]
    if fitted:
        raise DataError(
            "networks are fitted for each region that is left out; pass their names, as ['gru']."
        )
    dim = str(dims[0])
    regions = _regions(reference, by, dim)
    places = reference[dim].values
    parts = []
    for region in np.unique(regions):
        parts.append(
            space_for_time(
                reference,
                models,
                train_places=places[regions != region].tolist(),
                test_places=places[regions == region].tolist(),
                baselines=baselines,
                train=train,
                test=test,
                length=length,
                horizon=horizon,
                features=features,
                members=members,
                seed=seed,
                config=config,
                pretrain=pretrain,
                bootstrap=bootstrap,
                device=device,
                jobs=jobs,
                progress=progress,
            )
        )
    return _joined(parts, np.unique(regions), dim, places).assign_coords(
        {by: (dim, regions.astype("U"))}
    )


def _regions(ds: xr.Dataset, by: str, dim: str) -> np.ndarray:
    if by not in ds.variables or ds[by].dims != (dim,):
        raise RegionError(
            f"the region of each place is needed as a coordinate {by!r} along {dim!r}; found "
            f"{[str(n) for n in ds.coords]}. Type ds.assign_coords({by}=({dim!r}, names)), or draw "
            "places with xp.sample_places(ds, 1000, regions=regions)."
        )
    regions = np.asarray(ds[by].values)
    names = np.unique(regions)
    if names.size < 2:
        raise RegionError(
            f"leave-region-out validation needs two regions; all places are of {names.tolist()}."
        )
    return regions


def _joined(
    parts: Sequence[xr.Dataset], names: np.ndarray, dim: str, places: np.ndarray
) -> xr.Dataset:
    """Scores by place side by side, in the order of the places; the others by region."""
    own = [str(n) for n, da in parts[0].data_vars.items() if dim in da.dims]
    axis = name_axis(LEFT_OUT, [str(n) for n in names])
    options = {"coords": "minimal", "compat": "override", "combine_attrs": "drop_conflicts"}
    by_place = xr.concat([p[own] for p in parts], dim=dim, **options)  # type: ignore[call-overload]
    out = xr.concat([p.drop_dims(dim) for p in parts], dim=axis, **options)  # type: ignore[call-overload]
    out = out.assign(by_place.sel({dim: places}).data_vars)
    return out.assign_attrs(protocol="leave-region-out")


__all__ = ["leave_region_out"]
