"""xpermafrost: from reanalysis and climate-model files to soil temperature, in xarray."""

from __future__ import annotations

__version__ = "0.1.0"
