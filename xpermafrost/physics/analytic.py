"""Solutions in closed form: the annual wave, Stefan's thaw depth, Neumann's moving front.

They are the known answers that the numerical column is held against, and quick estimates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import DataError

YEAR_SECONDS = 365.0 * 86400.0


def damping_depth(diffusivity: float, period: float = YEAR_SECONDS) -> float:
    """Depth at which a wave of ``period`` [s] has fallen to 1/e [m]: ``sqrt(a P / pi)``.

    Carslaw and Jaeger (1959), section 2.6; ``diffusivity`` a in m2 s-1.

    Examples
    --------
    >>> round(damping_depth(1e-6), 2)
    3.17
    """
    return math.sqrt(diffusivity * period / math.pi)


def harmonic_wave(
    depth: np.ndarray,
    time: np.ndarray,
    *,
    mean: float,
    amplitude: float,
    diffusivity: float,
    period: float = YEAR_SECONDS,
) -> np.ndarray:
    """Temperature [degC] below a surface at ``mean + amplitude sin(2 pi t / P)``, no phase change.

    Carslaw and Jaeger (1959), section 2.6.

    Parameters
    ----------
    depth : array [m], time : array [s]
        Broadcast against each other.
    mean, amplitude : float
        Of the surface [degC, K].
    diffusivity : float
        [m2 s-1].
    period : float
        [s].

    Examples
    --------
    >>> float(harmonic_wave(0.0, YEAR_SECONDS / 4, mean=-5, amplitude=10, diffusivity=1e-6))
    5.0
    """
    decay = np.asarray(depth) / damping_depth(diffusivity, period)
    angle = 2.0 * np.pi * np.asarray(time) / period
    return mean + amplitude * np.exp(-decay) * np.sin(angle - decay)


def stefan_depth(
    degree_days: np.ndarray, *, conductivity: np.ndarray | float, latent_heat: np.ndarray | float
) -> np.ndarray:
    """Thaw depth [m] from thawing degree days of the ground surface: ``sqrt(2 k I / L)``.

    Stefan (1891). Heat capacity and frozen ground below are neglected, so it is an upper limit.

    Parameters
    ----------
    degree_days : array
        [K d], 0 or more.
    conductivity : array or float
        Of the thawed soil [W m-1 K-1].
    latent_heat : array or float
        Of the soil's water [J m-3].

    Examples
    --------
    >>> round(float(stefan_depth(900.0, conductivity=1.2, latent_heat=1.5e8)), 2)
    1.12
    """
    return np.sqrt(2.0 * conductivity * np.asarray(degree_days) * 86400.0 / latent_heat)


@dataclass(frozen=True, kw_only=True)
class NeumannSolution:
    """Neumann's two-phase solution for thaw (or freezing) of a half-space; see :func:`neumann`."""

    eigenvalue: float
    surface: float
    initial: float
    diffusivity_above: float
    diffusivity_below: float

    def front(self, time: np.ndarray | float) -> np.ndarray:
        """Depth of the front [m] at ``time`` [s]: ``2 lambda sqrt(a t)``."""
        return 2.0 * self.eigenvalue * np.sqrt(self.diffusivity_above * np.asarray(time))

    def temperature(self, depth: np.ndarray, time: float) -> np.ndarray:
        """Temperature [degC] at ``depth`` [m] and ``time`` [s]."""
        depth = np.asarray(depth, dtype="float64")
        lam = self.eigenvalue
        ratio = math.sqrt(self.diffusivity_above / self.diffusivity_below)
        erf = np.vectorize(math.erf, otypes=[float])
        erfc = np.vectorize(math.erfc, otypes=[float])
        near = depth / (2.0 * math.sqrt(self.diffusivity_above * time))
        far = depth / (2.0 * math.sqrt(self.diffusivity_below * time))
        above = self.surface * (1.0 - erf(near) / math.erf(lam))
        below = self.initial * (1.0 - erfc(far) / math.erfc(lam * ratio))
        return np.where(depth < self.front(time), above, below)


def neumann(
    *,
    surface: float,
    initial: float,
    conductivity_above: float,
    conductivity_below: float,
    heat_capacity_above: float,
    heat_capacity_below: float,
    latent_heat: float,
) -> NeumannSolution:
    """Neumann's solution: a half-space at ``initial``, its surface held at ``surface``.

    Carslaw and Jaeger (1959), section 11.2: the eigenvalue lambda solves ::

        exp(-l2)/erf(l) + (k2/k1) sqrt(a1/a2) (Ti/Ts) exp(-l2 a1/a2)/erfc(l sqrt(a1/a2))
            = l L sqrt(pi) / (C1 |Ts|)

    with 1 above and 2 below the front, temperatures relative to freezing.

    Parameters
    ----------
    surface, initial : float
        [degC], of opposite sign (``initial`` may be 0).
    conductivity_above, conductivity_below : float
        Between surface and front, and below it [W m-1 K-1].
    heat_capacity_above, heat_capacity_below : float
        [J m-3 K-1].
    latent_heat : float
        [J m-3].

    Examples
    --------
    >>> thaw = neumann(surface=5, initial=-2, conductivity_above=1.2, conductivity_below=2.0,
    ...     heat_capacity_above=2.6e6, heat_capacity_below=1.9e6, latent_heat=1.2e8)
    >>> round(float(thaw.front(90 * 86400)), 2)
    0.81
    """
    if surface * initial > 0 or surface == 0:
        raise DataError(
            "neumann needs surface and initial temperature on opposite sides of 0 degC; got "
            f"{surface:g} and {initial:g}."
        )
    above, below = (
        conductivity_above / heat_capacity_above,
        conductivity_below / heat_capacity_below,
    )
    ratio = math.sqrt(above / below)
    stefan = latent_heat * math.sqrt(math.pi) / (heat_capacity_above * abs(surface))
    drain = conductivity_below / conductivity_above * ratio * initial / surface

    def excess(lam: float) -> float:
        tail = math.erfc(lam * ratio)
        chill = drain * math.exp(-((lam * ratio) ** 2)) / tail if tail > 0 else -math.inf
        return math.exp(-lam * lam) / math.erf(lam) + chill - lam * stefan

    low, high = 1e-9, 5.0
    for _ in range(200):  # bisection: excess falls from +inf, once through 0
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return NeumannSolution(
        eigenvalue=0.5 * (low + high),
        surface=surface,
        initial=initial,
        diffusivity_above=above,
        diffusivity_below=below,
    )
