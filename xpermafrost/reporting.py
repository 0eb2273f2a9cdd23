"""A report: one file, for people, of everything that an experiment and its models say."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from . import __version__
from ._files import atomic_path
from ._report.caveats import caveat_section
from ._report.data import data_section, model_section, provenance_section
from ._report.forcing import adjustment_section, check_section
from ._report.future import explanation_section, projection_section
from ._report.html import Content, page, paragraph
from ._report.results import Asked, Results, fitted_models, gather
from ._report.scores import score_section
from ._report.summary import lead, summary_section
from .errors import DataError, PermafrostWarning
from .hybrid import Fitted
from .plot._common import pyplot
from .preparation import Period

#: Sections by key and title, in their order.
_SECTIONS = {
    ("summary", "In short"): summary_section,
    ("data", "Data"): data_section,
    ("models", "Models"): model_section,
    ("scores", "Scoreboard"): score_section,
    ("adjustment", "Bias adjustment"): adjustment_section,
    ("checks", "Scenario checks"): check_section,
    ("projections", "Projections"): projection_section,
    ("explanations", "Explanations"): explanation_section,
    ("caveats", "Caveats"): caveat_section,
    ("provenance", "Provenance"): provenance_section,
}


def report(
    ds: xr.Dataset,
    models: Sequence[Fitted] | Fitted,
    path: str | os.PathLike[str],
    *,
    scenarios: Sequence[str] | str | None = None,
    baselines: Sequence[str] | str = "all",
    test: Period | None = None,
    periods: Sequence[Period] | None = None,
    method: str = "qdm",
    reference_period: Period | None = None,
    extend: str | None = None,
    explain: bool = True,
    windows: int = 24,
    bootstrap: int = 500,
    seed: int = 0,
    title: str | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    progress: bool | None = None,
) -> Path:
    """Write one HTML file of everything that an experiment and its fitted models say.

    Data and where they come from, models, the scoreboard beside baselines, the bias adjustment,
    checks of the scenarios, projections, attributions, and the caveats that apply. The file holds
    its figures and style; it loads nothing and runs nothing. The same call writes the same file.
    Computes dask arrays.

    Parameters
    ----------
    ds : Dataset
        An experiment Dataset of regions or stations, see :func:`xpermafrost.combine`; of one or
        several climate models.
    models : FittedModel, HybridModel, PersistenceModel, or a sequence of them
        What was fitted on years before the test years; one trained on all years is projected and
        explained, and nothing is scored.
    path : path-like
        The file, ``.html``. It is there whole or not at all.
    scenarios : str or sequence of str, optional
        By default all.
    baselines, bootstrap, test
        As in :func:`xpermafrost.evaluate`.
    periods : sequence of pair of str, optional
        First and last years for means and changes, whole years of every scenario. By default those
        of 2021-2040, 2041-2060 and 2081-2100 that all scenarios have, else the last years (20 at
        most). A projection cuts the first to its own years; means need ten years.
    method, reference_period, extend
        Bias adjustment, as in :func:`xpermafrost.project`.
    explain : bool
        Attributions (the slowest part), see :func:`xpermafrost.explain`; of one climate model also
        those of the difference between the weakest and the strongest scenario in the last period.
    windows : int
        Windows explained at every location.
    seed : int
        Of the resamples, and of the windows explained.
    title : str, optional
        By default that of the Dataset.
    overwrite : bool
        Replace an existing file.
    device : str
        torch device.
    progress : bool, optional
        Show a progress bar; by default in a terminal only.

    Returns
    -------
    Path

    Raises
    ------
    NotFittedError
        If a model is a name, or not fitted.
    ModelMismatchError
        If a model belongs to other locations or layers.
    OutputExistsError
        If the file exists; before anything is computed.
    DimensionError
        For a grid.
    LeakageError
        If a test period is asked for that a model was trained on.
    ScenarioError, TimeAxisError, MissingVariableError, DataError
        As the functions whose answers it holds.

    Warns
    -----
    PermafrostWarning
        What the parts warn of; the same texts stand among the caveats.

    Examples
    --------
    >>> import tempfile
    >>> from xpermafrost.testing import experiment
    >>> from xpermafrost.training import TrainingConfig, fit
    >>> ds = experiment()
    >>> gru = fit(ds, "gru", length=12, config=TrainingConfig(epochs=2))
    >>> folder = tempfile.mkdtemp()
    >>> options = {"scenarios": "rcp85", "baselines": ["ridge"], "explain": False}
    >>> file = report(ds, gru, f"{folder}/gru.html", **options)
    >>> file.read_text().startswith("<!DOCTYPE html>")
    True
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"report writes HTML; {target.name!r} is another name. Type 'report.html'.")
    named = fitted_models(models)
    pyplot()  # before the work: can figures be drawn?
    asked = Asked(
        scenarios=scenarios,
        baselines=baselines,
        test=test,
        periods=periods,
        method=method,
        reference_period=reference_period,
        extend=extend,
        explain=explain,
        windows=windows,
        bootstrap=bootstrap,
        seed=seed,
        device=device,
    )
    with atomic_path(target, overwrite=overwrite) as temporary:
        results = _gathered(ds, named, asked, progress)
        temporary.write_text(_written(results, title), encoding="utf-8")
    return target


def _gathered(
    ds: xr.Dataset, models: dict[str, Fitted], asked: Asked, progress: bool | None
) -> Results:
    from tqdm.auto import tqdm

    shown = sys.stderr.isatty() if progress is None else progress
    steps = 3 + len(models) * asked.explain
    with tqdm(total=steps, desc="report", disable=not shown) as bar:

        def tell(what: str) -> None:
            bar.set_postfix_str(what)
            bar.update()

        results = gather(ds, models, asked, tell)
    for text in results.warned:
        warnings.warn(text, PermafrostWarning, stacklevel=3)
    return results


def _written(results: Results, title: str | None) -> str:
    """The document; figures look the same whatever style the caller has set."""
    import matplotlib as mpl
    from matplotlib import style

    name = title or str(results.ds.attrs.get("title", "Soil temperature under scenarios"))
    # a name may hold a dollar sign; it is no formula
    with style.context("default"), mpl.rc_context({"text.parse_math": False}):
        sections: dict[tuple[str, str], Content] = {
            key: make(results) for key, make in _SECTIONS.items()
        }
    foot = paragraph(f"Written by xpermafrost {__version__}. This file loads nothing.")
    return page(name, lead(results), sections, foot)


__all__ = ["report"]
