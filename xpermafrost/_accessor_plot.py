"""``.permafrost.plot``: figures of a Dataset or DataArray; one call each."""

from __future__ import annotations

from typing import Any

import xarray as xr


class ArrayPlots:
    """Figures of a DataArray; each is documented at the function of :mod:`xpermafrost.plot`."""

    def __init__(self, obj: xr.DataArray) -> None:
        self._obj = obj

    def scenario_fans(
        self,
        *,
        observed: xr.DataArray | None = None,
        window: int = 20,
        title: str | None = None,
    ) -> Any:
        """Annual means by scenario; see :func:`xpermafrost.plot.scenario_fans`."""
        from .plot import scenario_fans

        return scenario_fans(self._obj, observed=observed, window=window, title=title)

    def observed_predicted(
        self, observed: xr.DataArray | xr.Dataset, *, title: str | None = None
    ) -> Any:
        """Predicted against observed; see :func:`xpermafrost.plot.observed_predicted`."""
        from .plot import observed_predicted

        return observed_predicted(self._obj, observed, title=title)

    def trumpet(self, *, ax: Any = None, title: str | None = None) -> Any:
        """Annual extremes with depth; see :func:`xpermafrost.plot.trumpet`."""
        from .plot import trumpet

        return trumpet(self._obj, ax=ax, title=title)

    def depth_time(self, *, ax: Any = None, title: str | None = None) -> Any:
        """Section of depth and time; see :func:`xpermafrost.plot.depth_time`."""
        from .plot import depth_time

        return depth_time(self._obj, ax=ax, title=title)

    def active_layer_trend(
        self, *, uncertainty: bool = True, ax: Any = None, title: str | None = None
    ) -> Any:
        """Thickness by year; see :func:`xpermafrost.plot.active_layer_trend`."""
        from .plot import active_layer_trend

        return active_layer_trend(self._obj, uncertainty=uncertainty, ax=ax, title=title)

    def region_map(
        self, regions: Any = None, *, ax: Any = None, cmap: str | None = None,
        title: str | None = None,
    ) -> Any:  # fmt: skip
        """A map of regions or of a grid; see :func:`xpermafrost.plot.region_map`."""
        from .plot import region_map

        return region_map(self._obj, regions, ax=ax, cmap=cmap, title=title)


class DatasetPlots:
    """Figures of a Dataset; each is documented at the function of :mod:`xpermafrost.plot`."""

    def __init__(self, obj: xr.Dataset) -> None:
        self._obj = obj

    def trumpet(self, *, ax: Any = None, title: str | None = None) -> Any:
        """Annual extremes with depth; see :func:`xpermafrost.plot.trumpet`."""
        from .plot import trumpet

        return trumpet(self._obj, ax=ax, title=title)

    def depth_time(self, *, ax: Any = None, title: str | None = None) -> Any:
        """Section of depth and time; see :func:`xpermafrost.plot.depth_time`."""
        from .plot import depth_time

        return depth_time(self._obj, ax=ax, title=title)

    def attribution_bar(self, *, ax: Any = None, title: str | None = None) -> Any:
        """Bars of an importance; see :func:`xpermafrost.plot.attribution_bar`."""
        from .plot import attribution_bar

        return attribution_bar(self._obj, ax=ax, title=title)

    def attribution_lags(self, *, ax: Any = None, title: str | None = None) -> Any:
        """Importance by lag; see :func:`xpermafrost.plot.attribution_lags`."""
        from .plot import attribution_lags

        return attribution_lags(self._obj, ax=ax, title=title)

    def attribution_beeswarm(self, *, ax: Any = None, title: str | None = None) -> Any:
        """A dot a window; see :func:`xpermafrost.plot.attribution_beeswarm`."""
        from .plot import attribution_beeswarm

        return attribution_beeswarm(self._obj, ax=ax, title=title)

    def attribution_difference(self, *, ax: Any = None, title: str | None = None) -> Any:
        """Two scenarios by feature; see :func:`xpermafrost.plot.attribution_difference`."""
        from .plot import attribution_difference

        return attribution_difference(self._obj, ax=ax, title=title)

    def skill(self, *, metric: str = "rmse", ax: Any = None, title: str | None = None) -> Any:
        """Heat map of a scoreboard; see :func:`xpermafrost.plot.skill`."""
        from .plot import skill

        return skill(self._obj, metric=metric, ax=ax, title=title)

    def adjustment(self, variable: str, *, title: str | None = None) -> Any:
        """Quantiles before and after; see :func:`xpermafrost.plot.adjustment`."""
        from .plot import adjustment

        return adjustment(self._obj, variable, title=title)

    def change_signals(self, variable: str, *, title: str | None = None) -> Any:
        """Changes before and after; see :func:`xpermafrost.plot.change_signals`."""
        from .plot import change_signals

        return change_signals(self._obj, variable, title=title)

    def training_history(self, *, ax: Any = None, title: str | None = None) -> Any:
        """Loss by epoch; see :func:`xpermafrost.plot.training_history`."""
        from .plot import training_history

        return training_history(self._obj, ax=ax, title=title)
