"""Sections: what went in, the models, where all comes from."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from .. import __version__
from ..features import needed_variables
from ..hybrid import HybridModel, PersistenceModel
from ..plot import scenario_label
from ..plot._common import layer_labels
from ..schema import SCENARIO, TIME, VARIABLES
from .html import (
    NONE,
    Content,
    Html,
    Rows,
    element,
    folded,
    number,
    paragraph,
    table,
)
from .results import Results
from .words import month

_PACKAGES = ("numpy", "xarray", "pandas", "torch", "xsdba")


def data_section(results: Results) -> Content:
    ds, reference, place = results.ds, results.reference, results.place
    names = [str(name) for name in reference[place].values]
    rows = Rows()
    for key in ("title", "source", "simulated", "regions", "institution", "references"):
        if key in ds.attrs and (key != "regions" or place not in ("band", "region")):
            rows.add(key, [str(ds.attrs[key])])
    first, last = (month(reference[TIME].values[k]) for k in (0, -1))
    rows.add("reference", [f"{first} to {last}, {reference.sizes[TIME]} months"])
    rows.add(f"{place} ({len(names)})", [", ".join(names)])
    if "lat" in reference.coords and reference["lat"].dims == (place,):
        south, north = (float(getattr(reference["lat"], side)()) for side in ("min", "max"))
        rows.add("latitude", [f"{south:.2f} to {north:.2f} degrees north"])
    rows.add("soil layers", [", ".join(layer_labels(reference))])
    for dim in ("esm", "realization"):
        if dim in ds.dims:
            rows.add({"esm": "climate models"}.get(dim, "realizations"),
                     [", ".join(map(str, ds[dim].values))])  # fmt: skip
    rows.add("SHA-256 of what was read", [element("code", results.fingerprint)])
    return [
        table("What went in.", ["", "value"], rows, wide=True),
        _scenario_table(results),
        _variable_table(results),
    ]


def _scenario_table(results: Results) -> Html:
    ds = results.ds
    rows = Rows()
    start, end = ds["period_start"], ds["period_end"]
    over = [d for d in start.dims if d != SCENARIO]
    for name in ds[SCENARIO].values:
        a, b = (da.sel({SCENARIO: name}) for da in (start, end))
        used = "projected" if name in results.scenarios else "read"
        used = used if name in (*results.scenarios, "reference", "historical") else "not asked for"
        rows.add(scenario_label(str(name)), [month(a.min(over).values), month(b.max(over).values),
                                             used])  # fmt: skip
    return table("Periods of the runs.", ["run", "first month", "last month", "use"], rows)


def _variable_table(results: Results) -> Html:
    reference = results.reference
    read: dict[str, list[str]] = {}
    for label, model in results.models.items():
        for name in needed(model):
            read.setdefault(name, []).append(label)
    rows = Rows()
    for name in [*read, "tsl"]:
        if name not in reference:
            continue
        da = reference[name]
        described = VARIABLES[name].long_name if name in VARIABLES else da.attrs.get("long_name")
        numeric = da.dtype.kind in "fiu"
        rows.add(
            element("code", name),
            [
                str(described or ""),
                str(da.attrs.get("units", "")),
                ", ".join(read.get(name, ["the target of all"])),
                number(100.0 * float(da.isnull().mean()), ".1f"),
                number(float(da.mean()), ".3g") if numeric else NONE,
            ],
        )
    return table(
        "Variables that the models read, over the reference: mean over all its places and months.",
        ["variable", "meaning", "units", "read by", "missing [%]", "mean"],
        rows,
    )


def needed(model: Any) -> tuple[str, ...]:
    """Variables that a model reads."""
    return needed_variables(model.spec.features)


def model_section(results: Results) -> Content:
    labels = list(results.models)
    facts = [_facts(model) for model in results.models.values()]
    rows = Rows()
    for key in facts[0]:
        rows.add(key, [fact[key] for fact in facts])
    return table("Models as they were fitted.", ["", *labels], rows, wide=True)


def _facts(model: Any) -> dict[str, Content]:
    info, spec = model.info, model.spec
    kinds = {PersistenceModel: "network with its own last errors", HybridModel: "column + network"}
    first = info.get("pretrain")
    learned = "from the record alone"
    if first:
        source = f"{first.get('weights') or 'pretrained'} ({first.get('source')})"
        learned = f"starts from weights: {source}, SHA-256 {first.get('hash')}"
    seeds = info.get("seeds", [])
    return {
        "id": element("code", model.id),
        "kind": next((text for kind, text in kinds.items() if isinstance(model, kind)), "network"),
        "window": f"{spec.length} {spec.step}s, horizon {spec.horizon}",
        "features": ", ".join(spec.features),
        "trained": f"{info.get('train_start')} to {info.get('train_end')}, "
        f"{info.get('n_windows')} windows, {info.get('n_excluded')} left out for gaps",
        "members": f"{len(seeds)}, seeds {', '.join(map(str, seeds))}",
        "learned": learned,
        "SHA-256 of training data": element("code", str(info.get("data_hash"))),
        "fitted with": f"xpermafrost {info.get('version')}, torch {info.get('torch')}",
    }


def provenance_section(results: Results) -> Content:
    versions = [f"xpermafrost {__version__}", f"Python {platform.python_version()}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
    first = next(iter(results.projections.values())).whole
    histories = [("data", str(results.ds.attrs.get("history", "") or "none recorded"))]
    histories += [(n, str(p.whole.attrs["history"])) for n, p in results.projections.items()]
    asked = results.asked
    call = (
        f"report(models={[m.id for m in results.models.values()]}, scenarios={results.scenarios}, "
        f"method={first.attrs['adjustment']!r}, periods={results.periods}, explain={asked.explain},"
        f" windows={asked.windows}, bootstrap={asked.bootstrap}, seed={asked.seed})"
    )
    return [
        paragraph(f"Made with {', '.join(versions)}."),
        element("pre", call),
        [folded(f"History of {name}", element("pre", text)) for name, text in histories],
    ]
