"""Diagnostics of frozen ground as methods of ``.permafrost``; one call each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import xarray as xr


class OfTemperature:
    """Of any soil or air temperature, Dataset or DataArray."""

    _obj: xr.Dataset | xr.DataArray

    def active_layer_thickness(
        self,
        *,
        method: str = "envelope",
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
        properties: xr.Dataset | None = None,
    ) -> xr.DataArray:
        """Active-layer thickness: :func:`xpermafrost.diagnostics.active_layer_thickness`."""
        from .diagnostics import active_layer_thickness

        return active_layer_thickness(
            self._obj,
            method=method,
            freezing_point=freezing_point,
            year=year,
            coverage=coverage,
            properties=properties,
        )

    def mean_annual_ground_temperature(
        self, *, year: str = "calendar", coverage: float = 0.95
    ) -> xr.DataArray:
        """MAGT of every layer: :func:`xpermafrost.diagnostics.mean_annual_ground_temperature`."""
        from .diagnostics import mean_annual_ground_temperature

        return mean_annual_ground_temperature(self._obj, year=year, coverage=coverage)

    def mean_annual_surface_temperature(
        self, *, year: str = "calendar", coverage: float = 0.95
    ) -> xr.DataArray:
        """MAGST; see :func:`xpermafrost.diagnostics.mean_annual_surface_temperature`."""
        from .diagnostics import mean_annual_surface_temperature

        return mean_annual_surface_temperature(self._obj, year=year, coverage=coverage)

    def mean_annual_air_temperature(
        self, *, year: str = "calendar", coverage: float = 0.95
    ) -> xr.DataArray:
        """MAAT; see :func:`xpermafrost.diagnostics.mean_annual_air_temperature`."""
        from .diagnostics import mean_annual_air_temperature

        return mean_annual_air_temperature(self._obj, year=year, coverage=coverage)

    def thermal_offset(
        self, *, freezing_point: float = 0.0, year: str = "calendar", coverage: float = 0.95
    ) -> xr.DataArray:
        """Top of permafrost less surface; see :func:`xpermafrost.diagnostics.thermal_offset`."""
        from .diagnostics import thermal_offset

        return thermal_offset(
            self._obj, freezing_point=freezing_point, year=year, coverage=coverage
        )

    def ttop(
        self,
        *,
        n_thawing: float | xr.DataArray,
        n_freezing: float | xr.DataArray,
        conductivity_ratio: float | xr.DataArray,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
        daily_std: float | xr.DataArray | None = None,
    ) -> xr.DataArray:
        """Temperature at the top of permafrost; see :func:`xpermafrost.diagnostics.ttop`."""
        from .diagnostics import ttop

        return ttop(
            self._obj,
            n_thawing=n_thawing,
            n_freezing=n_freezing,
            conductivity_ratio=conductivity_ratio,
            freezing_point=freezing_point,
            year=year,
            coverage=coverage,
            daily_std=daily_std,
        )

    def degree_days(
        self,
        *,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
        daily_std: float | xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Thawing and freezing degree days; see :func:`xpermafrost.diagnostics.degree_days`."""
        from .diagnostics import degree_days

        return degree_days(
            self._obj,
            freezing_point=freezing_point,
            year=year,
            coverage=coverage,
            daily_std=daily_std,
        )

    def design_index(
        self,
        *,
        kind: str = "thawing",
        years: int = 30,
        extreme: int = 3,
        year: str | None = None,
        freezing_point: float = 0.0,
        coverage: float = 0.95,
        daily_std: float | xr.DataArray | None = None,
    ) -> xr.DataArray:
        """Mean of the extreme years; see :func:`xpermafrost.diagnostics.design_index`."""
        from .diagnostics import design_index

        return design_index(
            self._obj,
            kind=kind,
            years=years,
            extreme=extreme,
            year=year,
            freezing_point=freezing_point,
            coverage=coverage,
            daily_std=daily_std,
        )

    def zero_curtain(
        self,
        *,
        tolerance: float = 0.5,
        min_days: int = 5,
        gap: int = 0,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
    ) -> xr.Dataset:
        """Longest and total zero curtain; see :func:`xpermafrost.diagnostics.zero_curtain`."""
        from .diagnostics import zero_curtain

        return zero_curtain(
            self._obj,
            tolerance=tolerance,
            min_days=min_days,
            gap=gap,
            freezing_point=freezing_point,
            year=year,
            coverage=coverage,
        )

    def zero_curtain_days(
        self,
        *,
        tolerance: float = 0.5,
        min_days: int = 5,
        gap: int = 0,
        freezing_point: float = 0.0,
    ) -> xr.DataArray:
        """Days of zero curtain; see :func:`xpermafrost.diagnostics.zero_curtain_days`."""
        from .diagnostics import zero_curtain_days

        return zero_curtain_days(
            self._obj,
            tolerance=tolerance,
            min_days=min_days,
            gap=gap,
            freezing_point=freezing_point,
        )

    def zero_curtain_error(
        self,
        observed: xr.Dataset | xr.DataArray,
        *,
        tolerance: float = 0.5,
        min_days: int = 5,
        gap: int = 0,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
    ) -> xr.Dataset:
        """Its duration against the observed: :func:`xpermafrost.diagnostics.zero_curtain_error`."""
        from .diagnostics import zero_curtain_error

        return zero_curtain_error(
            self._obj,
            observed,
            tolerance=tolerance,
            min_days=min_days,
            gap=gap,
            freezing_point=freezing_point,
            year=year,
            coverage=coverage,
        )

    def thaw_date(
        self,
        *,
        window: int = 5,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
    ) -> xr.DataArray:
        """First day of thaw; see :func:`xpermafrost.diagnostics.thaw_date`."""
        from .diagnostics import thaw_date

        return thaw_date(
            self._obj, window=window, freezing_point=freezing_point, year=year, coverage=coverage
        )

    def freeze_up_date(
        self,
        *,
        window: int = 5,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
    ) -> xr.DataArray:
        """First day of freeze-up; see :func:`xpermafrost.diagnostics.freeze_up_date`."""
        from .diagnostics import freeze_up_date

        return freeze_up_date(
            self._obj, window=window, freezing_point=freezing_point, year=year, coverage=coverage
        )

    def season_length(
        self,
        *,
        window: int = 5,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
    ) -> xr.DataArray:
        """Days between thaw and freeze-up; see :func:`xpermafrost.diagnostics.season_length`."""
        from .diagnostics import season_length

        return season_length(
            self._obj, window=window, freezing_point=freezing_point, year=year, coverage=coverage
        )

    def permafrost_presence(
        self,
        *,
        of: str = "column",
        years: int = 2,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
    ) -> xr.DataArray:
        """Frozen for two years; see :func:`xpermafrost.diagnostics.permafrost_presence`."""
        from .diagnostics import permafrost_presence

        return permafrost_presence(
            self._obj,
            of=of,
            years=years,
            freezing_point=freezing_point,
            year=year,
            coverage=coverage,
        )

    def talik_onset(
        self,
        *,
        years: int = 2,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
    ) -> xr.DataArray:
        """First year of a talik; see :func:`xpermafrost.diagnostics.talik_onset`."""
        from .diagnostics import talik_onset

        return talik_onset(
            self._obj, years=years, freezing_point=freezing_point, year=year, coverage=coverage
        )


class OfDataset(OfTemperature):
    """Of a Dataset that holds air and ground."""

    _obj: xr.Dataset

    def surface_offset(self, *, year: str = "calendar", coverage: float = 0.95) -> xr.DataArray:
        """Ground surface less air; see :func:`xpermafrost.diagnostics.surface_offset`."""
        from .diagnostics import surface_offset

        return surface_offset(self._obj, self._obj, year=year, coverage=coverage)

    def n_factors(
        self,
        *,
        freezing_point: float = 0.0,
        year: str = "calendar",
        coverage: float = 0.95,
        daily_std: float | xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Ground over air degree days; see :func:`xpermafrost.diagnostics.n_factors`."""
        from .diagnostics import n_factors

        return n_factors(
            self._obj,
            self._obj,
            freezing_point=freezing_point,
            year=year,
            coverage=coverage,
            daily_std=daily_std,
        )


class OfArray(OfTemperature):
    """Of what other diagnostics return."""

    _obj: xr.DataArray

    def permafrost_probability(
        self, *, dim: Hashable | Sequence[Hashable] = "member"
    ) -> xr.DataArray:
        """Share of members: :func:`xpermafrost.diagnostics.permafrost_probability`."""
        from .diagnostics import permafrost_probability

        return permafrost_probability(self._obj, dim=dim)

    def permafrost_zones(
        self,
    ) -> xr.DataArray:
        """Zones by that share; see :func:`xpermafrost.diagnostics.permafrost_zones`."""
        from .diagnostics import permafrost_zones

        return permafrost_zones(self._obj)

    def permafrost_free_year(
        self,
    ) -> xr.DataArray:
        """First year without permafrost: :func:`xpermafrost.diagnostics.permafrost_free_year`."""
        from .diagnostics import permafrost_free_year

        return permafrost_free_year(self._obj)

    def thawed_volume(self, *, area: xr.DataArray) -> xr.DataArray:
        """Thickness times area; see :func:`xpermafrost.diagnostics.thawed_volume`."""
        from .diagnostics import thawed_volume

        return thawed_volume(self._obj, area=area)
