"""Figures. matplotlib is imported by the functions; they return axes or a figure to go on with.

Functions of one panel take ``ax=`` and return it, so that they compose; those of many panels return
the figure. What is simulated says so under every title.
"""

from __future__ import annotations

from ._adjustment import adjustment, change_signals
from ._attributions import attribution_bar, attribution_lags
from ._common import SCENARIO_COLOURS, scenario_label
from ._explained import attribution_beeswarm, attribution_difference
from ._ground import active_layer_trend, depth_time, trumpet
from ._maps import region_map
from ._models import observed_predicted, skill, training_history
from ._scenarios import scenario_fans

__all__ = [
    "SCENARIO_COLOURS",
    "active_layer_trend",
    "adjustment",
    "attribution_bar",
    "attribution_beeswarm",
    "attribution_difference",
    "attribution_lags",
    "change_signals",
    "depth_time",
    "observed_predicted",
    "region_map",
    "scenario_fans",
    "scenario_label",
    "skill",
    "training_history",
    "trumpet",
]
