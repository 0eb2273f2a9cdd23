"""Which features the networks go by: ``python -m benchmarks.bench_ranking [DATA_FOLDER]``.

Five networks, each the mean of ``--members``, on the sample (as ``fit`` makes them by default, and
from scratch on the first study's forcing with snow depth) and, where ``DATA_FOLDER`` holds
``stations/yakutia_monthly.nc``, on the stations of Yakutia. Printed: mean absolute attributions
with intervals (whole years of explained windows resampled) and ranks; ranks by layer and season;
rank correlations between networks and members; and beside them two rankings that use no gradient:
how much the error on the test years grows where a feature is permuted between windows of a
location, and, with ``--ablation``, where a GRU is trained without it.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xpermafrost as xp
from benchmarks.bench_training import FEATURES, SEASON, TRAIN, study_dataset
from benchmarks.bench_yakutia import CONFIG, VARIABLES
from benchmarks.bench_yakutia import FEATURES as STATION_FEATURES
from benchmarks.bench_yakutia import TRAIN as STATION_TRAIN
from xpermafrost._explained import members_of, take_apart
from xpermafrost.attributions import _default_group
from xpermafrost.evaluation import score
from xpermafrost.fitted import FittedModel
from xpermafrost.models import MODELS
from xpermafrost.preparation import training_period
from xpermafrost.training import TrainingConfig, fit_many

#: Variables that say nearly the same, for the ranking by groups.
GROUPS = {
    "air": ("tas", "ts"),
    "snow": ("snd", "prsn"),
    "precipitation": ("pr",),
    "radiation": ("rlds", "rsds"),
    "heat fluxes": ("hfls", "hfss"),
    "soil water": ("mrsol",),
}
#: Permutations of every feature.
PERMUTATIONS = 3
WINTER = (12, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A Dataset, and how networks are trained on it."""

    title: str
    ds: xr.Dataset
    train: tuple[str, str]
    test: tuple[str, str]
    features: tuple[str, ...] | None = None
    config: TrainingConfig | None = None
    nets: tuple[str, ...] = field(default_factory=lambda: tuple(MODELS))

    def fit(self, names: Sequence[str], members: int, without: Sequence[str]) -> list[FittedModel]:
        """Networks that read all but the features of the variables ``without``."""
        kept = self.features
        if kept is not None:
            kept = tuple(name for name in kept if name.split(":")[0] not in without)
        return fit_many(
            self.ds,
            list(names),
            train=self.train,
            features=kept,
            members=members,
            config=self.config,
            progress=False,
        )


def named(why: xr.Dataset) -> xr.Dataset:
    """Attributions by variable: its layers and memories together."""
    return xp.group_features(why)


def grouped(why: xr.Dataset) -> xr.Dataset:
    """Attributions by :data:`GROUPS`."""
    there = set(why["feature"].values.tolist())
    groups = {name: [v for v in of if v in there] for name, of in GROUPS.items()}
    return xp.group_features(why, {name: of for name, of in groups.items() if of})


def explained(model: FittedModel, ds: xr.Dataset, windows: int) -> list[xr.Dataset]:
    """Attributions by variable of every member alone, of the same windows."""
    alone = [replace(model, nets=(net,)) for net in model.nets]
    return [named(xp.explain(one, ds, windows=windows)) for one in alone]


def together(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Attributions of the mean of members: the mean of their attributions."""
    mean = sum(part["attribution"] for part in parts) / len(parts)
    return parts[0].assign(attribution=mean)


def bars(why: xr.Dataset, by: Sequence[str] = ("feature",)) -> xr.DataArray:
    return xp.importance(why, list(by), interval=None)["importance"]


def ranks(size: xr.DataArray) -> xr.DataArray:
    """1 for the largest."""
    return (-size).rank("feature").astype(int)


def correlation(one: xr.DataArray, two: xr.DataArray) -> float:
    """Spearman's, over the features."""
    return float(xr.corr(one.rank("feature"), two.rank("feature"), dim="feature"))


def with_intervals(whys: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """Rank, importance [K] and interval of every feature, a column for each network."""
    columns = {}
    for name, why in whys.items():
        found = xp.importance(why)
        rank = ranks(found["importance"])
        columns[name] = {
            str(f): f"{int(rank.sel(feature=f))}  {float(row.importance):.2f} "
            f"({float(row.importance_low):.2f}-{float(row.importance_high):.2f})"
            for f in found["feature"].values
            for row in [found.sel(feature=f)]
        }
    mean = sum(bars(why) for why in whys.values())
    order = mean["feature"].values[np.argsort(-mean.values)]
    return pd.DataFrame(columns).loc[[str(f) for f in order]]


def rank_by(whys: Mapping[str, xr.Dataset], key: str, feature: str) -> pd.DataFrame:
    """Rank of one feature by layer or season, a row for each network."""
    rows = {}
    for name, why in whys.items():
        rank = ranks(bars(why, (key, "feature"))).sel(feature=feature)
        rows[name] = dict(zip(rank[key].values.tolist(), rank.values.tolist(), strict=True))
    return pd.DataFrame(rows).T


def permuted(model: FittedModel, case: Case) -> tuple[xr.DataArray, float]:
    """Growth of the RMSE [K] where a variable is permuted between windows of a location."""
    ds, rng = case.ds, np.random.default_rng(0)
    subject = take_apart(model, ds)
    years = subject.raw["time"].dt.year.values[subject.windows.end]
    tested = np.flatnonzero((years >= int(case.test[0])) & (years <= int(case.test[1])))
    of = np.array([_default_group(str(n)) for n in subject.raw["feature"].values])
    names = list(dict.fromkeys(of.tolist()))
    truth = ds["tsl"].transpose(*subject.prediction.dims).values - 273.15
    truth = truth.reshape(-1, *truth.shape[-2:])
    errors: dict[str, list[np.ndarray]] = {name: [] for name in ["", *names]}
    for place in np.unique(subject.windows.location[tested]):
        mine = tested[subject.windows.location[tested] == place]
        slope, offset = subject.of(subject.slope, mine), subject.of(subject.offset, mine)
        nets = members_of(model, subject, int(subject.place[place]), device="cpu")
        flat = np.array(subject.rows(mine)).reshape(mine.size, -1, of.size)

        def missed(x, nets=nets, mine=mine, slope=slope, offset=offset):
            rows = [net.rows(x.reshape(len(x), -1), subject.places(mine)) for net in nets]
            answer = np.mean([n.values(r) for n, r in zip(nets, rows, strict=True)], axis=0)
            return offset + slope * answer - subject.of(truth, mine)

        errors[""].append(missed(flat))
        for name in names:
            for _ in range(PERMUTATIONS):
                other = flat.copy()
                other[:, :, of == name] = flat[rng.permutation(mine.size)][:, :, of == name]
                errors[name].append(missed(other))
    rmse = {k: float(np.sqrt(np.nanmean(np.concatenate(v) ** 2))) for k, v in errors.items()}
    growth = xr.DataArray([rmse[n] - rmse[""] for n in names], coords={"feature": names})
    return growth, rmse[""]


def ablated(case: Case, members: int) -> pd.DataFrame:
    """Test scores of a GRU trained without every group of variables."""
    there = {name.split(":")[0] for name in case.features or ()}
    period = training_period(case.ds, case.test)
    (whole,) = case.fit(["gru"], members, ())
    truth = case.ds["tsl"] - 273.15
    span = slice(*case.test)

    def winter(model: FittedModel) -> float:
        error = (model.predict(case.ds) - truth).sel(time=span)
        return float(((error.sel(time=error["time.month"].isin(WINTER))) ** 2).mean() ** 0.5)

    rows = {}
    for group, of in GROUPS.items():
        if not there & set(of):
            continue
        (less,) = case.fit(["gru"], members, of)
        row = score(case.ds, [less, replace(whole, name="all")], test=period)
        gap = row.sel(model="gru", baseline="all")
        rows[group] = {
            "RMSE": float(row["rmse_pooled"].sel(model="gru")),
            "with": float(row["rmse_pooled"].sel(model="all")),
            "winter": winter(less),
            "winter, with": winter(whole),
            "difference (95 %)": "{:.2f} ({:.2f} to {:.2f})".format(
                *(float(gap[f"rmse_difference{k}"]) for k in ("", "_low", "_high"))
            ),
        }
    return pd.DataFrame(rows).T


def show(title: str, table: pd.DataFrame) -> None:
    print(f"-- {title}\n{table.to_string(float_format='{:.2f}'.format)}", flush=True)


def agreement(parts: Mapping[str, Sequence[xr.Dataset]], whys: Mapping[str, xr.Dataset]) -> None:
    """Rank correlations between networks, and between the members of each."""
    sizes = {name: bars(why) for name, why in whys.items()}
    table = pd.DataFrame({a: {b: correlation(sizes[a], sizes[b]) for b in sizes} for a in sizes})
    show("rank correlation between networks", table)
    for name, members in parts.items():
        pairs = itertools.combinations([bars(m) for m in members], 2)
        found = [correlation(a, b) for a, b in pairs]
        if found:
            print(f"   members of {name}: {np.mean(found):.2f} ({min(found):.2f} at least)")


def one_case(case: Case, members: int, windows: int, ablation: bool) -> None:
    """Train, explain, print."""
    print(f"\n==== {case.title}: {members} members each", flush=True)
    models = {m.name: m for m in case.fit(case.nets, members, ())}
    parts = {name: explained(model, case.ds, windows) for name, model in models.items()}
    whys = {name: together(found) for name, found in parts.items()}
    show("rank, mean |attribution| [K] and 95 % interval by variable", with_intervals(whys))
    groups = {name: grouped(why) for name, why in whys.items()}
    many = {"ranked variables": whys}
    if groups[case.nets[0]].sizes["feature"] < whys[case.nets[0]].sizes["feature"]:
        many["ranked groups"] = groups
        show("the same by group", with_intervals(groups))
    for title, found in many.items():
        feature = "snd" if found is whys else "snow"
        for key in ("layer", "season"):
            show(f"{title}: {feature} by {key}", rank_by(found, key, feature))
    if whys[case.nets[0]].sizes["feature"] > 3:  # of three, a correlation says little
        agreement(parts, whys)
    growth = {name: permuted(model, case) for name, model in models.items()}
    show(
        "rank by permutation, growth of the test RMSE [K]",
        pd.DataFrame(
            {
                name: {
                    str(f): f"{int(ranks(found).sel(feature=f))}  {float(found.sel(feature=f)):.2f}"
                    for f in found["feature"].values
                }
                for name, (found, _) in growth.items()
            }
        ),
    )
    for name, (found, rmse) in growth.items():
        found = found.sel(feature=whys[name]["feature"].values)
        r = correlation(found, bars(whys[name]))
        print(f"   {name}: test RMSE {rmse:.2f} K; rank correlation with attributions {r:.2f}")
    if ablation and case.features is not None:
        show("GRU trained without a group, test years [K]", ablated(case, members))


def cases(data: str | None) -> list[Case]:
    """The sample twice; the stations, of departures and of the temperature itself."""
    sample = study_dataset()
    years = {"train": TRAIN, "test": ("2019", "2023")}
    found = [
        Case(title="sample, as fit does it", ds=sample, **years),
        Case(
            title="sample, the study's forcing and snow depth",
            ds=sample,
            features=(*FEATURES, "snd", *SEASON),
            config=TrainingConfig(),
            **years,
        ),
    ]
    if data is None:
        return found
    with xr.open_dataset(Path(data) / "stations" / "yakutia_monthly.nc") as raw:
        ds = raw.load().permafrost.standardize()
    ds = ds.sel(layer=ds.depth.isin([0.2, 0.8, 1.6]))
    years = {"train": STATION_TRAIN, "test": ("2014", "2023")}
    plain = (*VARIABLES, *SEASON)
    return [
        *found,
        Case(
            title="Yakutia, departures from the climatology",
            ds=ds,
            features=tuple(STATION_FEATURES),
            config=CONFIG,
            **years,
        ),
        Case(
            title="Yakutia, the temperature itself",
            ds=ds,
            features=plain,
            config=replace(CONFIG, target="raw"),
            **years,
        ),
    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--windows", type=int, default=24, help="explained at every location")
    parser.add_argument("--epochs", type=int, help="of networks trained from scratch")
    parser.add_argument("--case", help="part of a title: only those cases")
    parser.add_argument("--ablation", action="store_true", help="train without each group, too")
    options = parser.parse_args()
    warnings.simplefilter("ignore", category=DeprecationWarning)
    for case in cases(options.data):
        if options.case is None or options.case in case.title:
            if options.epochs and case.config:
                case = replace(case, config=replace(case.config, epochs=options.epochs))
            one_case(case, options.members, options.windows, options.ablation)


if __name__ == "__main__":
    main()
