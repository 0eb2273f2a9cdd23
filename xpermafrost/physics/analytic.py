"""Solutions in closed form: the annual wave, Stefan, Neumann's front, Kudryavtsev, TTOP.

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


def ttop(
    thawing: np.ndarray | float,
    freezing: np.ndarray | float,
    *,
    conductivity_ratio: np.ndarray | float,
    n_thawing: np.ndarray | float = 1.0,
    n_freezing: np.ndarray | float = 1.0,
    period: np.ndarray | float = 365.0,
) -> np.ndarray:
    """Mean annual temperature at the top of permafrost, or at the base of seasonal frost [degC].

    Smith and Riseborough (1996), with the form for seasonal frost of Riseborough and Smith (1998),
    r = k_t/k_f ::

        T = (r n_t TDD - n_f FDD) / P          where that is at or below 0 (permafrost)
        T = (n_t TDD - n_f FDD / r) / P        elsewhere

    Parameters
    ----------
    thawing, freezing : array or float
        Degree days of the air [K d], 0 or more; of the ground surface with n-factors of 1.
    conductivity_ratio : array or float
        Thermal conductivity of the ground, thawed over frozen, above 0.
    n_thawing, n_freezing : array or float
        n-factors, ground surface over air.
    period : array or float
        Days that the sums cover.

    Examples
    --------
    >>> float(ttop(1000.0, 3000.0, conductivity_ratio=0.6, n_thawing=0.9, n_freezing=0.5).round(2))
    -2.63
    """
    warm, cold = n_thawing * np.asarray(thawing), n_freezing * np.asarray(freezing)
    sums = conductivity_ratio * warm - cold
    return np.where(sums <= 0, sums, sums / conductivity_ratio) / period


def kudryavtsev(
    mean: np.ndarray | float,
    amplitude: np.ndarray | float,
    *,
    conductivity_thawed: np.ndarray | float,
    conductivity_frozen: np.ndarray | float,
    heat_capacity_thawed: np.ndarray | float,
    heat_capacity_frozen: np.ndarray | float,
    latent_heat: np.ndarray | float,
    period: float = YEAR_SECONDS,
) -> tuple[np.ndarray, np.ndarray]:
    """Depth of seasonal thaw over permafrost, or of seasonal frost, and the temperature there.

    Kudryavtsev et al. (1974) for a harmonic surface temperature: the temperature by Anisimov et
    al. (1997, equation 14), the depth by Romanovsky and Osterkamp (1997, equations 3 to 5).
    Against :mod:`~xpermafrost.physics.column` in five cold climates the temperature is right to
    0.03 K and the thaw 4 to 17 % too shallow (Stefan: 17 to 35 % too deep); without latent heat
    the depth is exactly where the annual wave stops crossing 0 degC ::

        T = [T_s (k_f + k_t)/2 + A_s (k_t - k_f)/pi (x asin x + sqrt(1 - x2))] / k,  x = T_s/A_s

    and k = k_f where that is negative (permafrost), else k_t; then k, C are those of the layer
    that thaws (permafrost) or freezes, a = sqrt(k P / (pi C)), and ::

        A_z = (A_s - |T|) / ln[(A_s + L/2C) / (|T| + L/2C)] - L/2C
        Z_c = 2 (A_s - |T|) C a / (2 A_z C + L)
        Z   = [2 (A_s - |T|) C a + (2 A_z C Z_c + L Z_c) L a
               / (2 A_z C Z_c + L Z_c + (2 A_z C + L) a)] / (2 A_z C + L)

    Parameters
    ----------
    mean, amplitude : array or float
        Annual mean [degC] and amplitude [K] of the ground surface.
    conductivity_thawed, conductivity_frozen : array or float
        [W m-1 K-1].
    heat_capacity_thawed, heat_capacity_frozen : array or float
        [J m-3 K-1].
    latent_heat : array or float
        [J m-3].
    period : float
        [s].

    Returns
    -------
    depth, temperature : array
        Depth Z [m]: of thaw where ``temperature`` T [degC] is at or below 0, of frost elsewhere;
        0 where the surface stays on one side of 0 degC.

    Examples
    --------
    >>> depth, table = kudryavtsev(-6.0, 15.0, conductivity_thawed=1.0, conductivity_frozen=1.8,
    ...     heat_capacity_thawed=2.8e6, heat_capacity_frozen=2.0e6, latent_heat=1.3e8)
    >>> float(depth.round(2)), float(table.round(2))
    (0.69, -6.96)
    """
    mean, amplitude = np.asarray(mean, dtype="float64"), np.asarray(amplitude, dtype="float64")
    sided = np.abs(mean) >= amplitude  # the surface never crosses 0 degC
    share = np.divide(mean, amplitude, out=np.ones(np.shape(mean + amplitude)), where=~sided)
    bend = share * np.arcsin(share) + np.sqrt(1.0 - share * share)
    gap = np.asarray(conductivity_thawed) - conductivity_frozen
    heat = 0.5 * mean * (conductivity_thawed + conductivity_frozen) + amplitude * gap / np.pi * bend
    frozen = heat < 0
    temperature = heat / np.where(frozen, conductivity_frozen, conductivity_thawed)
    temperature = np.where(sided, mean, temperature)

    k = np.where(frozen, conductivity_thawed, conductivity_frozen)
    c = np.where(frozen, heat_capacity_thawed, heat_capacity_frozen)
    drop = amplitude - np.abs(temperature)
    moves = ~sided & (drop > 0)
    drop = np.where(moves, drop, 1.0)
    half = latent_heat / (2.0 * c)
    level = drop / np.log1p(drop / (np.abs(temperature) + half)) - half
    a = np.sqrt(k * period / (np.pi * c))
    store = 2.0 * level * c + latent_heat
    sensible = 2.0 * drop * c * a
    critical = sensible / store
    latent = store * critical * latent_heat * a / (store * critical + store * a)
    depth = np.where(moves, (sensible + latent) / store, 0.0)
    nothing = np.isnan(mean) | np.isnan(amplitude)
    return np.where(nothing, np.nan, depth), np.where(nothing, np.nan, temperature)
