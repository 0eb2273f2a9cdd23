"""``.permafrost`` on Datasets and DataArrays: check, call, return. No maths, no state."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ._accessor_diagnostics import OfArray, OfDataset
from ._accessor_ensembles import OfEnsemble
from ._accessor_plot import ArrayPlots, DatasetPlots
from ._accessor_report import Reported

if TYPE_CHECKING:
    from .fitted import FittedModel, Predictor
    from .hybrid import Fitted
    from .scenario_checks import ScenarioReport
    from .training import TrainingConfig

Period = tuple[str, str]


class _Files:
    """Methods that write, the same for Datasets and DataArrays."""

    _obj: xr.Dataset | xr.DataArray

    def to_cf(self) -> xr.Dataset:
        """CF-1.11 form; see :func:`xpermafrost.to_cf`."""
        from .gis import to_cf

        return to_cf(self._obj)

    def to_netcdf(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        compression: str = "zlib",
        progress: bool = False,
    ) -> Path:
        """Write CF-1.11 NetCDF, whole or not at all; see :func:`xpermafrost.to_netcdf`."""
        from .gis import to_netcdf

        return to_netcdf(
            self._obj, path, overwrite=overwrite, compression=compression, progress=progress
        )

    def to_zarr(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        resume: bool = False,
        progress: bool | None = None,
    ) -> Path:
        """Write a Zarr store, block by block; see :func:`xpermafrost.to_zarr`."""
        from .stores import to_zarr

        return to_zarr(self._obj, path, overwrite=overwrite, resume=resume, progress=progress)

    def to_geotiff(
        self,
        folder: str | os.PathLike[str],
        *,
        crs: str = "EPSG:4326",
        resolution: float | None = None,
        resampling: str = "bilinear",
        every: str = "year",
        names: str = "{model}_{scenario}_{variable}_{year}.tif",
        overwrite: bool = False,
    ) -> list[Path]:
        """Write a grid as cloud-optimised GeoTIFF; see :func:`xpermafrost.to_geotiff`."""
        from .gis import to_geotiff

        return to_geotiff(
            self._obj,
            folder,
            crs=crs,
            resolution=resolution,
            resampling=resampling,
            every=every,
            names=names,
            overwrite=overwrite,
        )

    def to_vector(
        self,
        path: str | os.PathLike[str],
        regions: Any = None,
        *,
        layout: str = "wide",
        periods: Sequence[Period] | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write regions or stations as GeoPackage or GeoJSON; see :func:`xpermafrost.to_vector`."""
        from .gis import to_vector

        return to_vector(
            self._obj, path, regions, layout=layout, periods=periods, overwrite=overwrite
        )

    def to_profiles(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Write stations as CF timeSeriesProfile files; see :func:`xpermafrost.to_profiles`."""
        from .gis import to_profiles

        return to_profiles(self._obj, folder, overwrite=overwrite)


@xr.register_dataset_accessor("permafrost")
class PermafrostDataset(_Files, OfDataset, Reported):
    """Methods of a Dataset; each is documented at the function that it calls."""

    _obj: xr.Dataset

    def __init__(self, obj: xr.Dataset) -> None:
        self._obj = obj

    @property
    def plot(self) -> DatasetPlots:
        """Figures; see :mod:`xpermafrost.plot`."""
        return DatasetPlots(self._obj)

    def identify(self, *, source: str | None = None) -> pd.DataFrame:
        """How every variable would be read; see :func:`xpermafrost.identify`."""
        from .sources import identify

        return identify(self._obj, source=source)

    def standardize(self, *, source: str | None = None, step: str = "month") -> xr.Dataset:
        """Canonical names, units, signs and time; see :func:`xpermafrost.standardize`."""
        from .sources import standardize

        return standardize(self._obj, source=source, step=step)

    def reduce(
        self,
        regions: Any,
        *,
        land: xr.DataArray | None = None,
        lake: xr.DataArray | None = None,
        glacier: xr.DataArray | None = None,
        weights: xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Area-weighted means over regions; see :func:`xpermafrost.reduce`."""
        from .regions import reduce

        return reduce(self._obj, regions, land=land, lake=lake, glacier=glacier, weights=weights)

    def regrid(
        self,
        target: xr.Dataset | xr.DataArray,
        *,
        method: str = "conservative",
        engine: str = "native",
        weights: xr.Dataset | None = None,
        min_valid: float | None = None,
    ) -> xr.Dataset:
        """Bring every field to another grid; see :func:`xpermafrost.regrid`."""
        from .regridding import regrid

        return regrid(
            self._obj, target, method=method, engine=engine, weights=weights, min_valid=min_valid
        )

    def remap_layers(
        self,
        layers: xr.Dataset | xr.DataArray | Sequence[float] | np.ndarray,
        *,
        above: str = "missing",
        below: str = "missing",
        max_gap: float = 1.0,
        min_valid: float = 0.8,
    ) -> xr.Dataset:
        """Bring every field to other soil layers; see :func:`xpermafrost.remap_layers`."""
        from .depth import remap_layers

        return remap_layers(
            self._obj, layers, above=above, below=below, max_gap=max_gap, min_valid=min_valid
        )

    def with_scenarios(
        self,
        scenarios: Mapping[str, xr.Dataset | Mapping[str, xr.Dataset]] | xr.DataTree,
        *,
        regions: Any = None,
        land: xr.DataArray | None = None,
        sampling: str = "linear",
    ) -> xr.Dataset:
        """Join climate-model Datasets; see :func:`xpermafrost.with_scenarios`."""
        from .experiment import with_scenarios

        return with_scenarios(self._obj, scenarios, regions=regions, land=land, sampling=sampling)

    def check_scenarios(self) -> ScenarioReport:
        """Whether scenarios differ, and what is wrong; see :func:`xpermafrost.check_scenarios`."""
        from .scenario_checks import check_scenarios

        return check_scenarios(self._obj)

    def adjustment_report(
        self,
        projection: xr.DataArray | None = None,
        *,
        variables: Sequence[str] | None = None,
        scenario: str | Sequence[str] | None = None,
        method: str = "qdm",
        reference_period: Period | None = None,
        extend: str | None = None,
        horizons: Sequence[Period] = (("2041", "2060"), ("2081", "2100")),
    ) -> xr.DataTree:
        """Before and after the bias adjustment; see :func:`xpermafrost.adjustment_report`."""
        from .adjustment_tables import adjustment_report

        return adjustment_report(
            self._obj,
            projection,
            variables=variables,
            scenario=scenario,
            method=method,
            reference_period=reference_period,
            extend=extend,
            horizons=horizons,
        )

    def make_consistent(self) -> xr.Dataset:
        """Correct what cannot be after adjustment; see :func:`xpermafrost.make_consistent`."""
        from .consistency import make_consistent

        return make_consistent(self._obj)

    def with_concentrations(
        self, *, gases: Sequence[str] = ("co2", "ch4", "n2o"), past: str | None = None
    ) -> xr.Dataset:
        """Add greenhouse gases of each scenario; see :func:`xpermafrost.with_concentrations`."""
        from .concentrations import with_concentrations

        return with_concentrations(self._obj, gases=gases, past=past)

    def adjust_scenarios(
        self,
        variables: Sequence[str] | None = None,
        *,
        rcp: str | float | Sequence[str] | None = None,
        ssp: str | float | Sequence[str] | None = None,
        scenario: str | Sequence[str] | None = None,
        esm: str | Sequence[str] | None = None,
        method: str = "qdm",
        reference_period: tuple[str, str] | None = None,
        extend: str | None = None,
    ) -> xr.Dataset:
        """Adjusted forcing of every run; see :func:`xpermafrost.adjust_scenarios`."""
        from .forcing import adjust_scenarios

        return adjust_scenarios(
            self._obj,
            variables,
            rcp=rcp,
            ssp=ssp,
            scenario=scenario,
            esm=esm,
            method=method,
            reference_period=reference_period,
            extend=extend,
        )

    def fit(
        self,
        model: str | type = "gru",
        *,
        train: tuple[str, str] | str | None = None,
        step: str = "month",
        length: int | None = None,
        horizon: int = 0,
        features: Sequence[str] | None = None,
        members: int = 1,
        seed: int = 0,
        config: TrainingConfig | None = None,
        options: Mapping[str, Any] | None = None,
        pretrain: xr.Dataset | str | None = "auto",
        places: str = "own",
        device: str = "cpu",
        jobs: int | None = None,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> FittedModel:
        """Train a network on the reference; see :func:`xpermafrost.fit`."""
        from .training import fit

        return fit(
            self._obj,
            model,
            train=train,
            step=step,
            length=length,
            horizon=horizon,
            features=features,
            members=members,
            seed=seed,
            config=config,
            options=options,
            pretrain=pretrain,
            places=places,
            device=device,
            jobs=jobs,
            progress=progress,
            checkpoint=checkpoint,
            resume=resume,
        )

    def project(
        self,
        model: str | Predictor = "gru",
        *,
        rcp: str | float | Sequence[str] | None = None,
        ssp: str | float | Sequence[str] | None = None,
        scenario: str | Sequence[str] | None = None,
        esm: str | Sequence[str] | None = None,
        method: str = "qdm",
        reference_period: tuple[str, str] | None = None,
        extend: str | None = None,
        members: str = "mean",
        train: tuple[str, str] | str | None = None,
        n_members: int = 1,
        seed: int = 0,
        config: TrainingConfig | None = None,
        device: str = "cpu",
        progress: bool | None = None,
    ) -> xr.DataArray:
        """Project soil temperature under scenarios; see :func:`xpermafrost.project`."""
        from .projection import project

        return project(
            self._obj,
            model,
            rcp=rcp,
            ssp=ssp,
            scenario=scenario,
            esm=esm,
            method=method,
            reference_period=reference_period,
            extend=extend,
            members=members,
            train=train,
            n_members=n_members,
            seed=seed,
            config=config,
            device=device,
            progress=progress,
        )

    def evaluate(
        self,
        models: Sequence[str | Fitted] | str | Fitted | None = None,
        *,
        baselines: Sequence[str] | str = "all",
        protocol: str = "default",
        train: tuple[str, str] | None = None,
        test: tuple[str, str] | None = None,
        step: str | None = None,
        length: int | None = None,
        horizon: int | None = None,
        features: Sequence[str] | None = None,
        members: int = 1,
        seed: int = 0,
        config: TrainingConfig | None = None,
        changes: Sequence[str] | str | None = None,
        bootstrap: int = 500,
        device: str = "cpu",
        jobs: int | None = None,
        progress: bool | None = None,
    ) -> xr.Dataset:
        """Score networks beside baselines; see :func:`xpermafrost.evaluate`."""
        from .evaluation import evaluate

        return evaluate(
            self._obj,
            models,
            baselines=baselines,
            protocol=protocol,
            train=train,
            test=test,
            step=step,
            length=length,
            horizon=horizon,
            features=features,
            members=members,
            seed=seed,
            config=config,
            changes=changes,
            bootstrap=bootstrap,
            device=device,
            jobs=jobs,
            progress=progress,
        )


@xr.register_dataarray_accessor("permafrost")
class PermafrostDataArray(_Files, OfArray, OfEnsemble):
    """Methods of a DataArray, such as a projection."""

    _obj: xr.DataArray

    def __init__(self, obj: xr.DataArray) -> None:
        self._obj = obj

    @property
    def plot(self) -> ArrayPlots:
        """Figures; see :mod:`xpermafrost.plot`."""
        return ArrayPlots(self._obj)

    def check_scenarios(self) -> ScenarioReport:
        """Whether scenarios differ, and what is wrong; see :func:`xpermafrost.check_scenarios`."""
        from .scenario_checks import check_scenarios

        return check_scenarios(self._obj)

    def reduce(
        self,
        regions: Any,
        *,
        land: xr.DataArray | None = None,
        lake: xr.DataArray | None = None,
        glacier: xr.DataArray | None = None,
        weights: xr.DataArray | None = None,
    ) -> xr.DataArray:
        """Area-weighted means over regions; see :func:`xpermafrost.reduce`."""
        from .regions import reduce

        one = self._obj.to_dataset(name="_")
        means = reduce(one, regions, land=land, lake=lake, glacier=glacier, weights=weights)
        return means["_"].rename(self._obj.name)
