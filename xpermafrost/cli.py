"""The command line: ``xpermafrost demo | identify | standardize | project | evaluate | report``.

A thin layer over the public functions: read files, call one, write what it returns. Exit codes:
0 fine, 1 the data or the request are refused, 2 wrong usage (argparse), 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from ._cli_arguments import make_parser
from ._cli_output import (
    fits,
    free,
    means_text,
    progress,
    scores_text,
    show,
    tell,
    warnings_in_a_line,
    write,
)
from ._files import atomic_path
from ._scenario_places import is_gridded
from .errors import (
    DimensionError,
    PermafrostError,
    unknown_name,
)

if TYPE_CHECKING:
    from .hybrid import Fitted
    from .training import TrainingConfig

Options = argparse.Namespace

#: What messages say to type in Python, and what to type here.
_TO_TYPE = {
    "overwrite=True": "--overwrite",
    "train=('2001', '2018')": "--train 2001 2018",
    "Open it with open_dataset.": "Or say what it is: --scenarios historical=FILE rcp85=FILE.",
}

#: Names that ``--regions`` knows; anything else is a file.
_REGIONS = ("alaska-bands",)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the entry point of the script ``xpermafrost``.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        0 fine; 1 the data or the request are refused, with one line on stderr (``--debug`` adds
        the traceback); 130 interrupted.

    Raises
    ------
    SystemExit
        With code 2 where the usage is wrong, with 0 after ``--help`` and ``--version``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "air.csv"
    >>> _ = file.write_text("date,t2m [degC]\\n2001-01-01,-20.5\\n2001-02-01,-18.0\\n")
    >>> main(["identify", str(file), "--source", "era5-land"])
    variable  canonical  ...
    t2m       tas        ...
    0
    """
    options = make_parser(_COMMANDS).parse_args(argv)
    try:
        with warnings_in_a_line(everything=options.debug):
            code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        tell("interrupted")
        return 130
    except (PermafrostError, OSError) as error:
        if options.debug:
            traceback.print_exc()
        message = str(error)
        for python, here in _TO_TYPE.items():
            message = message.replace(python, here)
        tell(message)
        return 1
    return code


# --- the commands -------------------------------------------------------------------------


def _demo(options: Options) -> int:
    from .datasets import alaska_sample
    from .hybrid import PREFIX, fit_hybrid

    free(options.output, options.overwrite)
    config = _config(options.epochs)
    [name] = _models([options.model])
    progress("the simulated sample world; the first time takes 15 s")
    ds = alaska_sample()
    progress("training")
    name = str(name)
    fitted: Fitted
    if name.startswith(PREFIX):
        fitted = fit_hybrid(ds, name.removeprefix(PREFIX), members=options.members, config=config)
    else:
        fitted = ds.permafrost.fit(name, members=options.members, config=config)
    scores = ds.permafrost.evaluate([fitted], changes=["rcp85"])
    progress("projecting")
    out = ds.permafrost.project(fitted, rcp="all")
    years = scores.attrs["test_period"]
    show(f"Simulated data. Scores over {years}, and the change to 2081-2100 under RCP8.5 [K]:")
    show(scores_text(scores))
    show(means_text(out))
    if options.output is not None:
        from .regions import alaska_bands

        write(out, options.output, alaska_bands(), options.overwrite)
    return 0


def _identify(options: Options) -> int:
    from .sources import identify, open_raw

    table = identify(open_raw(options.files), source=options.source)
    columns = ["variable", "canonical", "units_in", "units", "top", "bottom", "rule"]
    cells = table[columns].astype(object).where(table[columns].notna(), "").astype(str)
    rows = [columns, *cells.to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        show("  ".join(map(str.ljust, row, widths)).rstrip())
    problems = [
        f"{name}: {problem}"
        for name, problem in zip(table["variable"], table["problem"], strict=True)
        if problem
    ]
    if not problems and not table["canonical"].any():
        problems = ["nothing is recognised; rename what you know with xp.open_raw(...).rename()"]
    for problem in problems:
        tell(problem)
    return 1 if problems else 0


def _standardize(options: Options) -> int:
    from .sources import open_dataset

    free(options.output, options.overwrite, inputs=options.files)
    progress(f"reading {options.files[0]}")
    ds = open_dataset(options.files, source=options.source, step=options.step)
    write(ds, options.output, None, options.overwrite)
    return 0


def _project(options: Options) -> int:
    _refuse_idle(options, [options.model], ("members", "epochs", "seed", "train"))
    free(options.output, options.overwrite, inputs=_read(options))
    regions = _regions(options)
    [model] = _models([options.model], baselines=True)
    ds = _experiment(options, regions)
    fits(options.output, ds)
    progress("projecting" if not isinstance(model, str) else "training and projecting")
    out = ds.permafrost.project(
        model,
        rcp=options.rcp,
        ssp=options.ssp,
        scenario=options.scenario,
        method=options.adjust,
        train=_period(options, "train"),
        n_members=options.members or 1,
        seed=options.seed or 0,
        config=_config(options.epochs),
    )
    write(out, options.output, regions, options.overwrite)
    show(means_text(out))
    return 0


def _evaluate(options: Options) -> int:
    _refuse_idle(options, options.models, ("members", "epochs"))
    if options.output is not None:
        free(options.output, options.overwrite, inputs=_read(options))
    regions = _regions(options)
    models = _models(options.models) if options.models else None
    ds = _experiment(options, regions)
    progress("fitting and scoring")
    scores = ds.permafrost.evaluate(
        models,
        baselines=_baselines(options),
        protocol=options.protocol,
        train=_period(options, "train"),
        test=_period(options, "test"),
        members=options.members or 1,
        seed=options.seed or 0,
        config=_config(options.epochs),
        changes="all" if options.changes == ["all"] else options.changes,
        bootstrap=options.bootstrap,
    )
    show(scores_text(scores))
    if options.output is None:
        return 0
    if options.output.suffix == ".csv":
        from .evaluation import scoreboard

        with atomic_path(options.output, overwrite=options.overwrite) as temporary:
            scoreboard(scores).to_csv(temporary)
        show(f"wrote {options.output}")
    else:
        write(scores, options.output, None, options.overwrite)
    return 0


def _report(options: Options) -> int:
    from .experiment import choose_scenarios

    _refuse_idle(options, options.models, ("members", "epochs", "train"))
    free(options.output, options.overwrite)
    regions = _regions(options)
    models = _models(options.models)
    ds = _experiment(options, regions)
    if is_gridded(ds):
        raise DimensionError("a report is of regions or stations, not of a grid. Type --regions.")
    names = choose_scenarios(ds, rcp=options.rcp, ssp=options.ssp, scenario=options.scenario)
    path = ds.permafrost.report(
        _fitted(options, ds, models),
        options.output,
        scenarios=names,
        baselines=_baselines(options),
        test=_period(options, "test"),
        method=options.adjust,
        explain=not options.no_explain,
        bootstrap=options.bootstrap,
        seed=options.seed or 0,
        title=options.title,
        overwrite=options.overwrite,
    )
    show(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def _fitted(options: Options, ds: xr.Dataset, models: list[str | Fitted]) -> list[Fitted]:
    """Saved models as they are, in their places; the others are trained, side by side."""
    from .hybrid import fit_named

    names = [name for name in models if isinstance(name, str)]
    if not names:
        return [model for model in models if not isinstance(model, str)]
    progress("training")
    train = _period(options, "train")
    saved = [model.info for model in models if not isinstance(model, str)]
    if saved and train is None:  # the months that the saved ones have seen
        train = str(saved[0]["train_start"]), str(saved[0]["train_end"])
    made = iter(
        fit_named(
            ds,
            names,
            train=train,
            step="month",
            length=None,
            horizon=0,
            features=None,
            members=options.members or 1,
            seed=options.seed or 0,
            config=_config(options.epochs),
            device="cpu",
            jobs=None,
            progress=None,
        )
    )
    return [next(made) if isinstance(model, str) else model for model in models]


def _baselines(options: Options) -> list[str] | str:
    return "all" if options.baselines in (None, ["all"]) else options.baselines


# --- reading ------------------------------------------------------------------------------


def _read(options: Options) -> list[str]:
    """Files that are read, which no output replaces."""
    return [*options.reference, *(item.split("=")[-1] for item in options.scenarios or ())]


def _experiment(options: Options, regions: Any) -> xr.Dataset:
    from .sources import open_dataset

    if options.esm is not None and not options.scenarios:
        options.usage.error("--esm chooses among the files of --scenarios")
    if options.region_names is not None and options.regions in (None, *_REGIONS):
        options.usage.error("--region-names is for a file of --regions")
    progress(f"reading {options.reference[0]}")
    reference = open_dataset(options.reference, source=options.source)
    if options.scenarios:
        progress(f"reading {options.scenarios[0]}")
        scenarios = _scenarios(options)
        return reference.permafrost.with_scenarios(scenarios, regions=regions)
    return reference if regions is None else reference.permafrost.reduce(regions)


def _scenarios(options: Options) -> dict[str, xr.Dataset]:
    """Files of CMIP say what they hold; others are named, as ``rcp85=esm_rcp85.nc``."""
    from .sources import open_cmip, open_raw

    named: dict[str, list[str]] = {}
    for item in options.scenarios:
        found = re.fullmatch(r"(\w[\w.-]*)=(.+)", item)
        if found and not Path(item).exists():
            named.setdefault(found[1], []).append(found[2])
    if not named:
        return open_cmip(options.scenarios, model=options.esm)
    if sum(map(len, named.values())) < len(options.scenarios):
        options.usage.error("--scenarios: name all of them, as rcp85=FILE, or none")
    if options.esm is not None:
        options.usage.error("--esm chooses among CMIP files; these are named NAME=FILE")
    return {name: open_raw(files) for name, files in named.items()}


def _regions(options: Options) -> Any:
    from .region_files import as_regions
    from .regions import alaska_bands

    if options.regions is None:
        return None
    if options.regions in _REGIONS:
        return alaska_bands()
    if not Path(options.regions).exists() and not Path(options.regions).suffix:
        raise unknown_name("set of regions", options.regions, [*_REGIONS, "FILE.geojson"])
    return as_regions(options.regions, names=options.region_names)


def _models(names: Sequence[str], *, baselines: bool = False) -> list[str | Fitted]:
    """Saved models are loaded; other names are checked before anything long begins."""
    from .baselines import BASELINES
    from .hybrid import architecture, load_model
    from .models import MODELS

    others = list(BASELINES) if baselines else []
    for name in names:
        if not _is_saved(name) and architecture(name) not in [*MODELS, *others]:
            raise unknown_name("model", name, [*MODELS, "column+gru", *others, "FILE.xpm"])
    return [load_model(name) if _is_saved(name) else name for name in names]


def _is_saved(name: str) -> bool:
    return name.endswith(".xpm") or os.sep in name


def _config(epochs: int | None) -> TrainingConfig | None:
    from .training import TrainingConfig

    return None if epochs is None else TrainingConfig(epochs=epochs)


def _period(options: Options, name: str) -> Any:
    given = getattr(options, name)
    if given is None:
        return None
    if given == ["all"] and name == "train":
        return "all"
    if len(given) == 2 and all(re.fullmatch(r"\d{4}(-\d{2}){0,2}", year) for year in given):
        return tuple(given)
    options.usage.error(f"--{name} takes the first and the last year; got {' '.join(given)!r}")


def _refuse_idle(options: Options, models: Sequence[str] | None, names: Sequence[str]) -> None:
    """No option is taken in silence that would do nothing."""
    from .baselines import BASELINES

    given = [name for name in names if getattr(options, name) is not None]
    if not models or not given:
        return
    if all(map(_is_saved, models)):
        options.usage.error(f"--{given[0]} is for what is trained here; {models[0]} is saved")
    if all(model in BASELINES for model in models) and given != ["train"]:
        name = next(name for name in given if name != "train")
        options.usage.error(f"--{name} is for networks; {models[0]} is a baseline")


_COMMANDS = {
    "demo": _demo,
    "identify": _identify,
    "standardize": _standardize,
    "project": _project,
    "evaluate": _evaluate,
    "report": _report,
}

__all__ = ["main"]
