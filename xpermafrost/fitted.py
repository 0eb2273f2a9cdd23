"""FittedModel: weights, and everything needed to use them rightly or to refuse."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr
from torch import nn

from . import __version__
from ._blocks import is_lazy, is_part
from ._checks import check_steps, choose, marks_of, require_variables, without_attrs
from ._explains import Explains
from ._inference import run_net, strided
from ._state_archive import file_of, from_bytes
from .checkpoint import read_archive, write_archive
from .errors import CheckpointError, DataError, DimensionError, ModelMismatchError, UnknownNameError
from .features import SEASON_NAMES, build_features, needed_variables
from .models import UNKNOWN, load_network
from .products import predict_blocks, soil_temperature
from .scaling import scale_features, unscale_target
from .schema import FEATURE, LAYER, MEMBER, SCENARIO, TIME, layer_bounds, location_dims
from .windows import WindowSpec, location_index, make_windows


class Predictor(Protocol):
    """What a fitted network and a fitted baseline have in common."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> WindowSpec: ...

    def predict(self, ds: xr.Dataset) -> xr.DataArray:
        """Soil temperature ``(location..., layer, time)`` [degC] of a canonical Dataset."""
        ...


@dataclass(frozen=True, kw_only=True, repr=False)
class FittedModel(Explains):
    """A trained network, or an ensemble of the same network from several seeds.

    Made by :func:`xpermafrost.fit`, or loaded by :func:`load_model`. It publishes what it
    needs and refuses inputs whose regions, layers, features or units differ.

    Attributes
    ----------
    name : str
        Name of the architecture.
    nets : tuple of torch.nn.Module
        One per member, in evaluation mode.
    spec : WindowSpec
        Window and features.
    scaler : Dataset
        Statistics of the training months, see :func:`xpermafrost.scaling.fit_scaler`, with
        ``feature_min`` and ``feature_max`` ``(location..., feature, month)``.
    template : Dataset
        Coordinates of the locations and layers.
    statistics : Dataset
        Of anomalies, memories and the scenario signal; empty where none is a feature.
    history : Dataset
        Loss ``(member, epoch)`` in training and, where asked for, in validation.
    options : dict
        Options of the architecture.
    info : dict
        Training period, seeds, versions, data hash, counts of windows.
    """

    name: str
    nets: tuple[nn.Module, ...]
    spec: WindowSpec
    scaler: xr.Dataset
    template: xr.Dataset
    statistics: xr.Dataset
    history: xr.Dataset
    options: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        sizes = " x ".join(f"{self.template.sizes[d]} {d}" for d in self.location_dims)
        count = sum(p.numel() for p in self.nets[0].parameters())
        bounds = ", ".join(f"{a:g}-{b:g}" for a, b in layer_bounds(self.template))
        return (
            f"<xpermafrost.FittedModel {self.name!r}: {len(self.nets)} member(s) "
            f"of {count} weights>\n"
            f"  window     {self.spec.length} {self.spec.step}s, horizon {self.spec.horizon}\n"
            f"  features   {', '.join(self.spec.features)}\n"
            f"  locations  {sizes}\n"
            f"  layers     {bounds} m\n"
            f"  trained    {self.info.get('train_start')} to {self.info.get('train_end')}, "
            f"{self.info.get('n_windows')} windows "
            f"({self.info.get('n_excluded')} excluded for gaps), "
            f"target {self.scaler.attrs.get('transform')}\n"
            f"  id         {self.id}"
        )

    @property
    def id(self) -> str:
        """Architecture and a hash of data, window, seeds, options, training: used in provenance."""
        parts = [self.info.get(key) for key in ("data_hash", "seeds", "config", "pretrain")]
        parts += [self.options, vars(self.spec)]
        text = json.dumps(parts, sort_keys=True, default=str)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def location_dims(self) -> tuple[str, ...]:
        """Names of the location dimensions."""
        return tuple(str(d) for d in location_dims(self.template))

    @property
    def portable(self) -> bool:
        """Whether it answers for places that it has not learned: ``fit(places="any")``."""
        return bool(self.info.get("places") == "any")

    def predict(
        self, ds: xr.Dataset, *, members: str = "mean", device: str = "cpu"
    ) -> xr.DataArray:
        """Predict soil temperature for every step that has a whole window before it.

        Locations are found by label: they may be permuted or fewer than the model's. A
        :attr:`portable` model takes any others for average ones. Lazy on dask: block by block
        of locations, with time whole; a block without a whole window is NaN.

        Parameters
        ----------
        ds : Dataset
            Canonical forcing of the model's locations, in its time step, without ``scenario``.
        members : {"mean", "all"}
            The ensemble mean, or a ``member`` dimension.
        device : str
            torch device.

        Returns
        -------
        DataArray
            ``soil_temperature ([member,] location..., layer, time)`` [degC]; NaN where the
            window has a gap or would start before the data.

        Raises
        ------
        ModelMismatchError
            If layers, or the locations of a model that is not portable, are not its own.
        MissingVariableError, UnitsError
            If a feature is missing or in other units.
        TimeAxisError
            If the time step is not the model's own.
        """
        choose("members", members, ("mean", "all"))
        index = self.check_inputs(ds)
        if is_lazy(ds[list(self.needs)]):
            return predict_blocks(self, ds[list(self.needs)], members=members, device=device)
        raw = self.features(ds)
        out = self.predict_features(raw, index=index, members=members, device=device)
        return out.assign_attrs(marks_of(ds))

    @property
    def needs(self) -> tuple[str, ...]:
        """Variables that the model reads."""
        return needed_variables(self.spec.features)

    def features(self, ds: xr.Dataset) -> xr.DataArray:
        """The model's features of ``ds``, unscaled: ``(location..., time, feature)``. Lazy."""
        stats = self._at_locations(self.statistics, ds)
        spec = self.spec
        raw = build_features(
            ds, spec.features, statistics=stats, length=spec.length, step=spec.step
        )
        mine = self.location_dims  # places are numbered in this order, whatever that of the data
        return raw.transpose(*mine, ...) if set(mine) == set(location_dims(raw)) else raw

    def predict_features(
        self, raw: xr.DataArray, *, index: np.ndarray, members: str, device: str
    ) -> xr.DataArray:
        """As :meth:`predict`, from features ``(location..., time, feature)`` already built."""
        scaler = self._at_locations(self.scaler, raw)
        if (
            len(self.location_dims) > 1 and not self.portable
        ):  # cells of a grid that it has not learned: water
            raw = raw.where(scaler["feature_min"].notnull().any("month").all(FEATURE))
        windows = make_windows(scale_features(raw, scaler), self.spec)
        layers = {str(n): c.variable for n, c in self.template.coords.items() if c.dims == (LAYER,)}
        if not len(windows) and not is_part():
            raise DataError(
                f"no whole window of {self.spec.length} {self.spec.step}s without gaps; "
                f"{windows.excluded} windows hold missing features."
            )
        outputs = [
            run_net(net, windows, index, device=device)
            if len(windows)
            else np.empty((0, self.template.sizes[LAYER]), dtype="float32")
            for net in self.nets
        ]
        if members == "mean":
            scaled = windows.label(np.mean(outputs, axis=0), layers)
        else:
            each = [windows.label(values, layers) for values in outputs]
            scaled = xr.concat(each, dim=pd.RangeIndex(len(each), name=MEMBER))
        kelvin = unscale_target(scaled, scaler)
        return soil_temperature(kelvin, model=self.id, source=f"xpermafrost {__version__}")

    def check_inputs(self, ds: xr.Dataset) -> np.ndarray:
        """Number of each of the locations of ``ds`` in the model; refuse what does not fit."""
        require_variables(ds, self.needs, step=f"the model {self.name!r}")
        if SCENARIO in ds[list(self.needs)].dims:
            raise DimensionError(
                f"the model {self.name!r} predicts one forcing; the Dataset has the scenarios "
                f"{ds[SCENARIO].values.tolist()}. Project them: ds.permafrost.project(model), or "
                "select one: ds.sel(scenario='reference')."
            )
        check_steps(ds, self.spec.step, step=f"the model {self.name!r}")
        if LAYER in ds.dims:
            want, found = layer_bounds(self.template), layer_bounds(ds)
            if want.shape != found.shape or not np.allclose(want, found, atol=1e-6):
                raise ModelMismatchError(
                    f"the model was fitted on layers with bounds {want.tolist()} m; the data have "
                    f"{found.tolist()} m. A layer is known by its bounds, not by its number."
                )
        given = tuple(str(d) for d in location_dims(ds[list(self.needs)]))
        mine = self.location_dims
        if self.portable and set(mine) != set(given):
            return np.full(int(np.prod([ds.sizes[d] for d in given])), UNKNOWN)
        if set(mine) != set(given):
            raise ModelMismatchError(
                f"the model was fitted on locations {mine}; the data have {given}. "
                "Reduce or sample them to the model's own locations first."
            )
        known, asked = location_index(self.template, mine), location_index(ds, mine)
        index = known.get_indexer(asked)
        if (index < 0).any() and not self.portable:
            raise ModelMismatchError(
                f"the model knows the {mine} {known[:6].tolist()}; the data also have "
                f"{asked[index < 0][:6].tolist()}. A model is not applied to places it has not "
                "learned: select its own, fit on these, or fit with places='any'."
            )
        return index

    def outside_training_range(self, ds: xr.Dataset, *, by: str = "place") -> xr.DataArray:
        """Share of inputs outside the range seen in training.

        The range is that of each feature, location and calendar month over the training years
        (of all locations together, if the model is :attr:`portable`); the season, and features
        that never vary within a month, do not count.

        Parameters
        ----------
        ds : Dataset
            As for :meth:`predict`.
        by : {"place", "feature"}
            The share of the features of a month, ``(location..., time)``; or of the months of
            the window, ``(location..., time, feature)``. In 0..1, NaN where an input is missing.
        """
        choose("share", by, ("place", "feature"))
        self.check_inputs(ds)
        return self.outside_range(self.features(ds), by=by)

    def outside_range(self, raw: xr.DataArray, *, by: str = "place") -> xr.DataArray:
        """As :meth:`outside_training_range`, from features already built."""
        scaler = self._at_locations(self.scaler, raw)
        low, high = scaler["feature_min"], scaler["feature_max"]
        slack = 1e-6 * (high - low)
        varying = (high > low).any([d for d in low.dims if d != FEATURE])
        varying &= ~varying[FEATURE].isin(SEASON_NAMES)  # it never leaves
        month = raw[TIME].dt.month
        low, high = (
            limit.sel(month=month).drop_vars("month") for limit in (low - slack, high + slack)
        )
        share = ((raw < low) | (raw > high)).where(raw.notnull())
        share = share.isel({FEATURE: varying.values})
        if by == "place":
            share = share.mean(FEATURE).transpose(*location_dims(raw), TIME)
        else:
            share = share.transpose(*location_dims(raw), TIME, FEATURE)
            share = share.rolling({TIME: self.spec.length}).mean()
            share = share.shift({TIME: self.spec.horizon}) if self.spec.horizon else share
        return share.rename("outside_training_range").assign_attrs(
            long_name="share of inputs outside the range seen in training", units="1"
        )

    def _at_locations(self, state: xr.Dataset, like: xr.Dataset | xr.DataArray) -> xr.Dataset:
        if self.portable:
            return self._anywhere(state)
        picks = {d: like[d] for d in self.location_dims if d in state.dims}
        return state.sel(picks).pipe(without_attrs).assign_attrs(state.attrs)

    def _anywhere(self, state: xr.Dataset) -> xr.Dataset:
        """What is true of no place: norms, and the widest range of all places."""
        own = {d for d in self.location_dims if d in state.dims}
        kept = {n: da for n, da in state.data_vars.items() if not own & set(da.dims)}
        if "feature_min" in state:
            kept["feature_min"] = state["feature_min"].min(self.location_dims)
            kept["feature_max"] = state["feature_max"].max(self.location_dims)
        return xr.Dataset(kept, attrs=state.attrs)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model to one file, without pickle; see :func:`load_model`.

        Raises
        ------
        OutputExistsError
            If the path exists.
        """
        arrays = {
            f"nets/{k}/{name}": tensor.detach().cpu().numpy()
            for k, net in enumerate(self.nets)
            for name, tensor in net.state_dict().items()
        }
        meta = {
            "name": self.name,
            "members": len(self.nets),
            "options": self.options,
            "spec": {**vars(self.spec), "features": list(self.spec.features)},
            "info": self.info,
        }
        datasets = {
            "scaler": self.scaler,
            "template": self.template,
            "statistics": self.statistics,
            "history": self.history,
        }
        write_archive(path, meta=meta, arrays=arrays, datasets=datasets, overwrite=overwrite)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to other processes as the bytes of its file."""
        return from_bytes, (load_model, file_of(self).tobytes())

    def __dask_tokenize__(self) -> list[Any]:
        weights = [p.numpy(force=True) for net in self.nets for p in net.state_dict().values()]
        return [self.id, weights]


def load_model(path: str | os.PathLike[str]) -> FittedModel:
    """Load a model that :meth:`FittedModel.save` wrote; predictions are bit-equal.

    Nothing in the file is executed. A network of your own is found by its name: register it
    first with :func:`xpermafrost.register_model`.

    Raises
    ------
    CheckpointError
        If the file is truncated, edited, pickled or foreign.
    UnknownNameError
        If the architecture is not registered.
    """
    meta, arrays, datasets = read_archive(path)
    if "parts" in meta:
        raise CheckpointError(
            f"{str(path)!r} holds a {meta['parts']} around a network. Type xp.load_model(path)."
        )
    spec = WindowSpec(**{**meta["spec"], "features": tuple(meta["spec"]["features"])})
    scaler, template = datasets["scaler"], datasets["template"]
    nets = []
    for k in range(meta["members"]):
        prefix = f"nets/{k}/"
        weights = {
            name.removeprefix(prefix): values
            for name, values in arrays.items()
            if name.startswith(prefix)
        }
        nets.append(_rebuild(path, meta, scaler, template, spec, weights))
    return FittedModel(
        name=meta["name"],
        nets=tuple(nets),
        spec=spec,
        scaler=scaler,
        template=template,
        statistics=datasets["statistics"],
        history=datasets["history"],
        options=meta["options"],
        info=meta["info"],
    )


def _rebuild(
    path: object,
    meta: Mapping[str, Any],
    scaler: xr.Dataset,
    template: xr.Dataset,
    spec: WindowSpec,
    weights: dict[str, np.ndarray],
) -> nn.Module:
    places = location_dims(template)
    try:
        return load_network(
            meta["name"],
            weights,
            n_features=scaler.sizes[FEATURE],
            n_locations=int(np.prod([template.sizes[d] for d in places])),
            n_layers=template.sizes[LAYER],
            length=spec.length,
            options=meta["options"],
        )
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{str(path)!r} holds a network {meta['name']!r} that is not registered here. "
            f"Type xp.register_model({meta['name']!r}, YourNet) before loading."
        ) from error
    except RuntimeError as error:
        raise CheckpointError(
            f"{str(path)!r} does not fit the network registered as {meta['name']!r}: {error}"
        ) from error


__all__ = ["FittedModel", "Predictor", "load_model", "strided"]
