"""``.permafrost.report`` of a Dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from .hybrid import Fitted


class Reported:
    """The method ``report``."""

    _obj: xr.Dataset

    def report(
        self,
        models: Sequence[Fitted] | Fitted,
        path: str | os.PathLike[str],
        *,
        scenarios: Sequence[str] | str | None = None,
        baselines: Sequence[str] | str = "all",
        test: tuple[str, str] | None = None,
        periods: Sequence[tuple[str, str]] | None = None,
        method: str = "qdm",
        reference_period: tuple[str, str] | None = None,
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
        """One HTML file of data, scores, projections, caveats; see :func:`xpermafrost.report`."""
        from .reporting import report

        return report(
            self._obj,
            models,
            path,
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
            title=title,
            overwrite=overwrite,
            device=device,
            progress=progress,
        )
