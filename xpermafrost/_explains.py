"""The method ``explain`` that fitted networks and hybrids share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr


class Explains:
    """What can be explained by :func:`xpermafrost.explain`."""

    def explain(
        self: Any,
        ds: xr.Dataset,
        *,
        layers: Sequence[int] | None = None,
        windows: int | str | tuple[str, str] | None = None,
        background: xr.Dataset | None = None,
        background_size: int | None = None,
        background_from: str = "location",
        method: str = "expected_gradients",
        tol: float = 0.01,
        protocol: str = "default",
        seed: int = 0,
        device: str = "cpu",
    ) -> xr.Dataset:
        """Attributions that sum to the prediction; see :func:`xpermafrost.explain`."""
        from .explanation import explain

        return explain(
            self,
            ds,
            layers=layers,
            windows=windows,
            background=background,
            background_size=background_size,
            background_from=background_from,
            method=method,
            tol=tol,
            protocol=protocol,
            seed=seed,
            device=device,
        )
