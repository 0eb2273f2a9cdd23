"""Recursive retraining: year by year into a scenario, learning from one's own answers.

The first study proposes it as future work. The forcing is adjusted once; the network answers a
year, takes its answer for the truth, is tuned on it beside the training months, and answers the
next. A network's own answer holds nothing that the network does not know, so the loop can only
keep what the projection in one go says, or drift away from it. The drift is measured every year
and stopped at a limit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from . import __version__
from ._checks import marks_of, without_attrs
from ._training_loop import LOSSES, _alone
from .errors import DataError
from .experiment import choose_scenarios, reference_of
from .features import needed_variables
from .fitted import FittedModel, strided
from .products import soil_temperature
from .projection import Scenarios, future_start, scenario_forcing
from .scaling import scale_features, scale_target, unscale_target
from .schema import LAYER, SCENARIO, TIME, name_axis
from .training import fit
from .windows import Windows, make_windows

#: Windows of a step of retraining.
_BATCH = 128


def project_recursive(
    ds: xr.Dataset,
    model: str | FittedModel = "gru",
    *,
    rcp: Scenarios = None,
    ssp: Scenarios = None,
    scenario: Scenarios = None,
    method: str = "qdm",
    steps: int = 20,
    learning_rate: float = 1e-4,
    guard: float = 0.5,
    seed: int = 0,
) -> xr.Dataset:
    """Project year by year, retraining on the projection itself, beside the projection in one go.

    After each year the mean answer of the members joins the training months as if it had been
    observed, and every member is tuned on all of them from where it stands. Where the mean of a
    year is more than ``guard`` away from the projection in one go, which is all that the forcing
    explains, at any place and layer, that year's retraining is taken back and no more is done.

    Parameters
    ----------
    ds : Dataset
        An experiment Dataset of one climate model, see :func:`xpermafrost.combine`.
    model : str or FittedModel
        A network of months, or the name of one that is first fitted on the reference.
    rcp, ssp, scenario, method
        As in :func:`xpermafrost.project`; the adjustment is trained once, on the reference.
    steps : int
        Steps of retraining after each year, of 128 windows each.
    learning_rate : float
        Of AdamW, constant.
    guard : float
        Limit of the departure of an annual mean [K].
    seed : int
        Of the draws.

    Returns
    -------
    Dataset
        ``soil_temperature`` and ``one_shot`` ``(scenario, location..., layer, time)`` [degC];
        ``departure (scenario, year)`` [K], the largest of an annual mean over places and layers,
        before anything is taken back; ``retrained (scenario, year)``, whether weights moved after
        that year. Computes dask arrays.

    Raises
    ------
    DataError
        If the model is no network of months, or a number is not positive.
    ScenarioError, MissingVariableError, TimeAxisError
        As in :func:`xpermafrost.project`.

    Examples
    --------
    >>> from xpermafrost.testing import experiment
    >>> from xpermafrost.training import TrainingConfig
    >>> world = experiment()
    >>> gru = fit(world, "gru", length=6, config=TrainingConfig(epochs=2))
    >>> out = project_recursive(world, gru, rcp="8.5", steps=2)
    >>> out["soil_temperature"].dims, out.sizes["year"]
    (('scenario', 'band', 'layer', 'time'), 9)
    """
    names = choose_scenarios(ds, rcp=rcp, ssp=ssp, scenario=scenario)  # type: ignore[arg-type]
    for word, number in (("steps", steps), ("learning_rate", learning_rate), ("guard", guard)):
        if not number > 0:
            raise DataError(f"{word} must be positive; got {number}.")
    if isinstance(model, str):
        model = fit(ds, model, seed=seed)
    if not isinstance(model, FittedModel) or model.spec.step != "month":
        raise DataError(
            "recursive retraining needs a network of months: its name, or what fit(ds, 'gru') "
            f"returns; got {getattr(model, 'name', type(model).__name__)!r}."
        )
    forcing = scenario_forcing(
        ds, names, variables=needed_variables(model.spec.features), method=method
    )
    start = future_start(ds)
    record = reference_of(ds)["tsl"]
    how = _How(steps=steps, learning_rate=learning_rate, guard=guard, seed=seed)
    with _alone(seed):  # one thread, and torch's own generator put back: dropout draws from it
        parts = [_scenario(model, forcing[name], record, start, how) for name in names]
    out = xr.concat(
        parts, dim=name_axis(SCENARIO, names), join="outer", coords="minimal", compat="override"
    )
    stopped = [_stopped(name, part) for name, part in zip(names, parts, strict=True)]
    call = (
        f"xpermafrost {__version__}: project_recursive(model={model.id}, scenario={names}, "
        f"adjustment={method}, steps={steps}, learning_rate={learning_rate}, guard={guard})"
    )
    lines = [str(ds.attrs.get("history", "")), call]
    return out.assign_attrs(
        retraining_stopped="; ".join(filter(None, stopped)) or "never",
        history="\n".join(line for line in lines if line),
        **marks_of(ds),
    )


@dataclass(frozen=True, kw_only=True)
class _How:
    steps: int
    learning_rate: float
    guard: float
    seed: int


def _stopped(name: str, part: xr.Dataset) -> str:
    halted = ~part["retrained"].values.astype(bool)
    return f"{name}: {int(part['year'].values[halted][0])}" if halted.any() else ""


def _scenario(
    model: FittedModel, forcing: xr.Dataset, record: xr.DataArray, start: np.datetime64, how: _How
) -> xr.Dataset:
    """One scenario: the loop over its years, and the projection in one go."""
    index = model.check_inputs(forcing)
    raw = model.features(forcing).compute()
    picks = {d: raw[d] for d in model.location_dims}
    own = {d: p for d, p in picks.items() if d in model.scaler.dims}
    scaler = model.scaler.sel(own).pipe(without_attrs).assign_attrs(model.scaler.attrs)
    windows = make_windows(scale_features(raw, scaler), model.spec)
    target = _training_target(model, record.sel(picks), scaler, forcing[TIME], windows)
    nets = [copy.deepcopy(net) for net in model.nets]
    loop = _Loop(nets, windows, index, target, how)
    stamps = forcing[TIME].values[windows.end]
    years = forcing[TIME].dt.year.values[windows.end]
    scale = np.abs(scaler["target_std"].values)
    values = loop.answer(np.arange(len(windows)))
    one_shot = values.copy()
    future = np.unique(years[stamps >= start])
    departure, retrained = np.full(future.size, np.nan), np.zeros(future.size, dtype=bool)
    for k, year in enumerate(future):
        some = np.flatnonzero((years == year) & (stamps >= start))
        values[some] = loop.answer(some)
        departure[k] = _departure(values[some] - one_shot[some], windows.location[some], scale)
        if departure[k] > how.guard:  # what was learned last year is taken back
            loop.undo()
            rest = np.flatnonzero((years >= year) & (stamps >= start))
            values[rest] = loop.answer(rest)
            departure[k + 1 :] = [
                _departure(
                    (values - one_shot)[years == y], windows.location[years == y], scale
                )
                for y in future[k + 1 :]
            ]  # fmt: skip
            break
        loop.learn(some, values[some])
        retrained[k] = True
    return _labelled(
        model, windows, scaler, (values, one_shot), start, (future, departure, retrained)
    )


def _training_target(
    model: FittedModel,
    record: xr.DataArray,
    scaler: xr.Dataset,
    time: xr.DataArray,
    windows: Windows,
) -> np.ndarray:
    """Scaled soil temperature ``(window, layer)`` of the model's training months, else NaN."""
    months = slice(str(model.info["train_start"]), str(model.info["train_end"]))
    known = record.compute().astype("float64").sel({TIME: months})
    scaled = scale_target(known, scaler).reindex({TIME: time})
    values = scaled.transpose(*model.location_dims, TIME, LAYER).values
    values = values.reshape(-1, *values.shape[-2:]).astype("float32")
    return np.array(values[windows.location, windows.end])


def _departure(error: np.ndarray, place: np.ndarray, scale: np.ndarray) -> float:
    """Largest mean departure of a place and layer [K]."""
    means = [error[place == one].mean(axis=0) for one in np.unique(place)]
    return float(np.abs(np.stack(means) * scale).max())


def _labelled(
    model: FittedModel,
    windows: Windows,
    scaler: xr.Dataset,
    values: Sequence[np.ndarray],
    start: np.datetime64,
    yearly: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> xr.Dataset:
    layers = {str(n): c.variable for n, c in model.template.coords.items() if c.dims == (LAYER,)}
    runs = [
        soil_temperature(unscale_target(windows.label(v, layers), scaler), model=model.id)
        for v in values
    ]
    future = {TIME: slice(start, None)}
    years, departure, retrained = yearly
    return xr.Dataset(
        {
            "soil_temperature": runs[0].sel(future),
            "one_shot": runs[1].sel(future).rename("one_shot"),
            "departure": (
                "year",
                departure,
                {"units": "K", "long_name": "largest departure of an annual mean"},
            ),
            "retrained": ("year", retrained, {"long_name": "whether weights moved after the year"}),
        },
        coords={"year": years},
    )


class _Loop:
    """Networks that answer windows, and learn from what they are told of them."""

    def __init__(
        self,
        nets: list[nn.Module],
        windows: Windows,
        index: np.ndarray,
        target: np.ndarray,
        how: _How,
    ) -> None:
        self.nets, self.how = nets, how
        self.flat = strided(torch.from_numpy(windows.cube), windows.spec.length)
        self.rows = torch.from_numpy(windows.rows)
        self.place = torch.from_numpy(index[windows.location])
        self.shape = (windows.spec.length, windows.cube.shape[2])
        self.target = torch.from_numpy(target)
        self.generator = torch.Generator().manual_seed(how.seed)
        self.optimizers = [
            torch.optim.AdamW(net.parameters(), lr=how.learning_rate, weight_decay=0.0)
            for net in nets
        ]
        self.before = self._weights()

    def _weights(self) -> list[dict[str, Any]]:
        return [copy.deepcopy(net.state_dict()) for net in self.nets]

    def _run(self, net: nn.Module, some: torch.Tensor) -> torch.Tensor:
        x = self.flat.index_select(0, self.rows[some]).view(-1, *self.shape)
        return net(x, self.place[some])

    @torch.no_grad()
    def answer(self, some: np.ndarray) -> np.ndarray:
        """Mean scaled answer ``(window, layer)`` of the members."""
        parts = torch.from_numpy(some).split(512)
        each = [torch.cat([self._run(net.eval(), part) for part in parts]) for net in self.nets]
        return torch.stack(each).mean(dim=0).numpy()

    def learn(self, some: np.ndarray, answer: np.ndarray) -> None:
        """Take ``answer`` for the truth of the windows ``some``, and tune on all known so far."""
        self.target[torch.from_numpy(some)] = torch.from_numpy(answer)
        self.before = self._weights()
        known = torch.isfinite(self.target)
        pool = torch.nonzero(known.any(dim=1)).squeeze(1)
        for net, optimizer in zip(self.nets, self.optimizers, strict=True):
            net.train()
            for _ in range(self.how.steps):
                draw = torch.randint(pool.numel(), (_BATCH,), generator=self.generator)
                batch = pool[draw]
                told = torch.nan_to_num(self.target[batch])
                error = LOSSES["huber"](self._run(net, batch), told)
                loss = error[known[batch]].mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def undo(self) -> None:
        """Weights as before the last retraining."""
        for net, weights in zip(self.nets, self.before, strict=True):
            net.load_state_dict(weights)


__all__ = ["project_recursive"]
