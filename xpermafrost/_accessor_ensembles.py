"""``.permafrost`` methods of many climate models and scenarios: check, call, return."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

Period = tuple[str, str]


class OfEnsemble:
    """Methods of a DataArray along ``esm``, ``scenario`` and ``time``."""

    _obj: xr.DataArray

    def period_means(
        self, *, periods: Sequence[Period] = (("2021", "2040"), ("2041", "2060"), ("2081", "2100"))
    ) -> xr.DataArray:
        """Means over windows of years; see :func:`xpermafrost.period_means`."""
        from .ensembles import period_means

        return period_means(self._obj, periods=periods)

    def anomalies(
        self, *, baseline: Period = ("1995", "2014"), baseline_of: xr.DataArray | None = None
    ) -> xr.DataArray:
        """Departure from the mean of a baseline; see :func:`xpermafrost.anomalies`."""
        from .ensembles import anomalies

        return anomalies(self._obj, baseline=baseline, baseline_of=baseline_of)

    def ensemble_mean(self, *, weights: xr.DataArray | None = None) -> xr.DataArray:
        """Mean over climate models; see :func:`xpermafrost.ensemble_mean`."""
        from .ensembles import ensemble_mean

        return ensemble_mean(self._obj, weights=weights)

    def ensemble_quantiles(
        self, quantiles: Sequence[float] = (0.05, 0.5, 0.95), *, weights: xr.DataArray | None = None
    ) -> xr.DataArray:
        """Quantiles over climate models; see :func:`xpermafrost.ensemble_quantiles`."""
        from .ensembles import ensemble_quantiles

        return ensemble_quantiles(self._obj, quantiles, weights=weights)

    def split_spread(
        self, *, baseline: Period | None = None, weights: xr.DataArray | None = None
    ) -> xr.Dataset:
        """Spread by source; see :func:`xpermafrost.split_spread`."""
        from .ensembles import split_spread

        return split_spread(self._obj, baseline=baseline, weights=weights)

    def warming_level_years(
        self,
        *,
        levels: Sequence[float] = (1.5, 2.0, 3.0, 4.0),
        baseline: Period = ("1850", "1900"),
        offset: float = 0.0,
        window: int = 20,
    ) -> xr.DataArray:
        """Years of warming levels; see :func:`xpermafrost.warming_level_years`."""
        from .global_warming import warming_level_years

        return warming_level_years(
            self._obj, levels=levels, baseline=baseline, offset=offset, window=window
        )

    def at_warming_levels(self, years: xr.DataArray, *, window: int = 20) -> xr.DataArray:
        """Means at warming levels; see :func:`xpermafrost.at_warming_levels`."""
        from .global_warming import at_warming_levels

        return at_warming_levels(self._obj, years, window=window)
