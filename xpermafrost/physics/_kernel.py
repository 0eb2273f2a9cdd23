"""The compiled heart of the soil column: many columns at once, states kept in the cache.

Layout: a block of ``WIDTH`` columns is worked on at a time in one array ``(node, row, WIDTH)``, all
that belongs to a node side by side, and every inner loop runs over the block: the processor does
eight columns with one instruction, the compiler sees that rows do not overlap, and a block's state
stays in the fast cache for all its years. The kernel releases the interpreter lock; the caller
runs one thread per share of the columns.

Divisions and roots are the dearest operations, so the state is computed with one of each. With
``u = width - T`` below 0 degC the enthalpy ``h = cf T - latent (1 - width / u)`` is the quadratic
``cf u**2 + (h + latent - cf width) u - latent width = 0``; in ``v = u / scale``,
``scale = sqrt(latent width / cf)``, it is ``v**2 + 2 p v - 1 = 0``: ``v`` and ``1 / v`` are
``sqrt(p**2 + 1) -+ p``, of which the sum is computed and the other found by division: nothing
cancels. The slope is ``dh/dT = cf + latent width / u**2 = 2 cf sqrt(p**2 + 1) / v``, the liquid
share ``width / u``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Columns worked on together. At 16 and below the compiler unrolls the inner loops; more do not
#: fit the fast cache.
WIDTH = 32

# Rows of a node. Constants: two that make `p` of the enthalpy, freezing width, scale of `u`, its
# ratio to the width, twice the frozen heat capacity, the thawed one and its inverse, the frozen
# conductivity and what thawing adds.
_SHIFT, _FACTOR, _WI, _SCALE, _RATIO, _CF2, _CT, _INV_CT, _KF, _KD = range(10)
# State: enthalpy, that at the start of the step, temperature, apparent heat capacity dH/dT, that
# times T less the enthalpy, liquid share; conductance of the upper face [W m-2 K-1]; Thomas:
# super-diagonal over pivot, right-hand side; sum and maximum over the period, and for how many
# steps frozen.
_H, _OLD, _T, _CAP, _REST, _SHARE, _G, _UP, _X, _TOTAL, _HIGH, _AGE = range(10, 22)
_ROWS = 22

#: Least latent heat [J m-3]: changes no temperature by 1e-12 K and keeps the quadratic one.
_LEAST_LATENT = 1e-6

#: Ground that has been frozen for so long [s] lasts: seasonal frost has gone by then.
_YEAR = 365.0 * 86400.0

# `nnan` and `ninf` stay off: a missing forcing must come out missing.
_FAST = {"contract", "arcp", "nsz", "reassoc"}


@njit(inline="always")
def _state(h, shift, factor, wi, scale, ratio, cf2, ct, inv_ct):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Temperature [degC], slope dH/dT [J m-3 K-1] and liquid share at the enthalpy ``h`` [J m-3].

    ``h`` is 0 for thawed soil at 0 degC. Both branches are computed: vectors know no other way.
    """
    p = (h + shift) * factor
    root = np.sqrt(p * p + 1.0)
    large = abs(p) + root
    small = 1.0 / large
    v = small if p > 0.0 else large
    inv = large if p > 0.0 else small
    warm = h * inv_ct
    cold = wi - scale * v
    slope = cf2 * root * inv
    liquid = ratio * inv
    thawed = h >= 0.0
    t = warm if thawed else cold
    cap = ct if thawed else slope
    share = 1.0 if thawed else liquid
    return t, cap, share


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def solve_block(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    first,
    surface,
    resistance,
    store,
    months,
    step_seconds,
    thickness,
    enthalpy,
    heat_thawed,
    heat_frozen,
    cond_thawed,
    cond_frozen,
    latent,
    width,
    bottom_flux,
    weights,
    tolerance,
    max_iterations,
    centres,
    pack,
    out,
    thaw,
    flux_mean,
    heat_in,
):
    """Advance the columns ``first .. first + WIDTH``; writes the last five of its arguments.

    ``surface`` and ``resistance`` are ``(step, column)``, and so is ``store``, the heat capacity
    in the middle of the resistance, or it has no rows; soil arrays ``(node, column)``;
    ``out`` is ``(period, row, column)`` for the rows of ``weights (row, node)``; ``thaw`` and
    ``flux_mean`` are ``(period, column)``. ``enthalpy (node, column)`` and ``pack (column)``, the
    temperature of the store, are read and overwritten. Returns the number of iterations done.
    """
    nodes = thickness.size
    columns = enthalpy.shape[1]
    s = np.empty((nodes + 1, _ROWS, WIDTH))
    bottom = np.empty(WIDTH)
    pick = np.empty(WIDTH, dtype=np.int64)
    for j in range(WIDTH):
        pick[j] = min(first + j, columns - 1)  # the last block is filled up with its last column
        bottom[j] = bottom_flux[pick[j]]
    for i in range(nodes):
        for j in range(WIDTH):
            p = pick[j]
            cf, wi, la = heat_frozen[i, p], width[i, p], latent[i, p]
            if la < _LEAST_LATENT:
                la = _LEAST_LATENT
            scale = np.sqrt(la * wi / cf)
            s[i, _H, j] = enthalpy[i, p]
            s[i, _SHIFT, j] = la - cf * wi
            s[i, _FACTOR, j] = 0.5 / (cf * scale)
            s[i, _WI, j] = wi
            s[i, _SCALE, j] = scale
            s[i, _RATIO, j] = wi / scale
            s[i, _CF2, j] = 2.0 * cf
            s[i, _CT, j] = heat_thawed[i, p]
            s[i, _INV_CT, j] = 1.0 / heat_thawed[i, p]
            s[i, _KF, j] = cond_frozen[i, p]
            s[i, _KD, j] = cond_thawed[i, p] - cond_frozen[i, p]
            s[i, _AGE, j] = 0.0

    half = np.empty(WIDTH)
    cond = np.empty(WIDTH)
    ts = np.empty(WIDTH)
    energy = np.zeros(WIDTH)
    worst = np.empty(WIDTH)
    solved = np.zeros(WIDTH)  # temperature that the solve gave the node last worked on
    flux = np.zeros(WIDTH)
    iterations = 0
    storing = store.shape[0] > 0
    above = np.empty(WIDTH)  # conductance from the surface to the store
    below = np.empty(WIDTH)  # and from it to the first node
    capacity = np.empty(WIDTH)  # of the store, over the step [W m-2 K-1]
    held = np.empty(WIDTH)  # temperature of the store
    for j in range(WIDTH):
        held[j] = pack[pick[j]]
        s[nodes, _G, j] = 0.0

    for i in range(nodes):
        for j in range(WIDTH):
            h = s[i, _H, j]
            t, cap, share = _state(
                h,
                s[i, _SHIFT, j],
                s[i, _FACTOR, j],
                s[i, _WI, j],
                s[i, _SCALE, j],
                s[i, _RATIO, j],
                s[i, _CF2, j],
                s[i, _CT, j],
                s[i, _INV_CT, j],
            )
            s[i, _T, j] = t
            s[i, _CAP, j] = cap
            s[i, _REST, j] = cap * t - h
            s[i, _SHARE, j] = share

    step = 0
    for period in range(months.size):
        for i in range(nodes):
            for j in range(WIDTH):
                s[i, _TOTAL, j] = 0.0
                s[i, _HIGH, j] = -1e9
        for j in range(WIDTH):
            flux[j] = 0.0
        for _ in range(months[period]):
            # Conductivity by the liquid share, at the start of the step; two half nodes in series
            # conduct k k' / (z k' + z' k). The resistance above is a half node of k = 1.
            for j in range(WIDTH):
                p = pick[j]
                ts[j] = surface[step, p]
                half[j] = resistance[step, p]
                cond[j] = 1.0
            for i in range(nodes):
                dz = 0.5 * thickness[i]
                for j in range(WIDTH):
                    k = s[i, _KF, j] + s[i, _KD, j] * s[i, _SHARE, j]
                    s[i, _G, j] = cond[j] * k / (half[j] * k + dz * cond[j])
                    half[j] = dz
                    cond[j] = k
                    s[i, _OLD, j] = s[i, _H, j]
            if storing:
                # The store is one more unknown of the step, eliminated beforehand: what is left
                # of it is another surface temperature and another uppermost conductance.
                for j in range(WIDTH):
                    p = pick[j]
                    capacity[j] = store[step, p] / step_seconds
                    if capacity[j] > 0.0:
                        r = 0.5 * resistance[step, p]
                        above[j] = 1.0 / r
                        below[j] = 1.0 / (1.0 / s[0, _G, j] - r)
                        both = capacity[j] + above[j]
                        ts[j] = (capacity[j] * held[j] + above[j] * ts[j]) / both
                        s[0, _G, j] = below[j] * both / (both + below[j])
                    else:
                        held[j] = ts[j]
            for _it in range(max_iterations):
                iterations += 1
                # forward elimination; the heat equation in the unknown temperature x:
                # dz/dt (H + cap (x - T) - H_old) = g_up (x_up - x) - g_down (x - x_down)
                rate = thickness[0] / step_seconds
                for j in range(WIDTH):
                    inv = 1.0 / (rate * s[0, _CAP, j] + s[0, _G, j] + s[1, _G, j])
                    s[0, _UP, j] = s[1, _G, j] * inv
                    known = rate * (s[0, _OLD, j] + s[0, _REST, j]) + s[0, _G, j] * ts[j]
                    s[0, _X, j] = known * inv
                for i in range(1, nodes):
                    rate = thickness[i] / step_seconds
                    for j in range(WIDTH):
                        g = s[i, _G, j]
                        down = s[i + 1, _G, j]
                        inv = 1.0 / (rate * s[i, _CAP, j] + g * (1.0 - s[i - 1, _UP, j]) + down)
                        s[i, _UP, j] = down * inv
                        known = rate * (s[i, _OLD, j] + s[i, _REST, j]) + g * s[i - 1, _X, j]
                        s[i, _X, j] = known * inv
                        if i == nodes - 1:
                            s[i, _X, j] += bottom[j] * inv
                for j in range(WIDTH):
                    worst[j] = 0.0
                    solved[j] = 0.0
                for n in range(nodes):
                    i = nodes - 1 - n
                    for j in range(WIDTH):
                        x = s[i, _X, j] + s[i, _UP, j] * solved[j]
                        solved[j] = x
                        h = s[i, _CAP, j] * x - s[i, _REST, j]  # H + cap (x - T)
                        t, cap, share = _state(
                            h,
                            s[i, _SHIFT, j],
                            s[i, _FACTOR, j],
                            s[i, _WI, j],
                            s[i, _SCALE, j],
                            s[i, _RATIO, j],
                            s[i, _CF2, j],
                            s[i, _CT, j],
                            s[i, _INV_CT, j],
                        )
                        s[i, _H, j] = h
                        s[i, _T, j] = t
                        s[i, _CAP, j] = cap
                        s[i, _REST, j] = cap * t - h
                        s[i, _SHARE, j] = share
                        worst[j] = max(worst[j], abs(x - t))
                most = 0.0
                for j in range(WIDTH):
                    if worst[j] > most:
                        most = worst[j]
                if most <= tolerance:
                    break
            for j in range(WIDTH):
                # the flux that the linear solve balanced: enthalpy is conserved whatever the
                # tolerance
                entering = s[0, _G, j] * (ts[j] - solved[j])
                flux[j] += entering
                energy[j] += (entering + bottom[j]) * step_seconds
            if storing:
                for j in range(WIDTH):
                    if capacity[j] > 0.0:
                        both = capacity[j] + above[j]
                        held[j] = (both * ts[j] + below[j] * solved[j]) / (both + below[j])
            for i in range(nodes):
                for j in range(WIDTH):
                    t = s[i, _T, j]
                    s[i, _TOTAL, j] += t
                    s[i, _HIGH, j] = max(s[i, _HIGH, j], t)
            step += 1
        count = months[period]
        last = min(WIDTH, columns - first)
        for i in range(nodes):
            for j in range(WIDTH):
                s[i, _AGE, j] = s[i, _AGE, j] + count if s[i, _HIGH, j] <= 0.0 else 0.0
        for row in range(weights.shape[0]):
            for j in range(last):
                mean = 0.0
                for i in range(nodes):
                    if weights[row, i] != 0.0:
                        mean += weights[row, i] * s[i, _TOTAL, j]
                out[period, row, first + j] = mean / count
        for j in range(last):
            flux_mean[period, first + j] = flux[j] / count
            thaw[period, first + j] = _thaw_depth(s, j, _YEAR / step_seconds, centres)
    for j in range(min(WIDTH, columns - first)):
        heat_in[first + j] = energy[j]
        pack[first + j] = held[j]
        for i in range(nodes):
            enthalpy[i, first + j] = s[i, _H, j]
    return iterations


@njit(cache=True, nogil=True)
def _thaw_depth(s, j, year, centres):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Depth [m] of 0 degC below the uppermost thawed soil of the column ``j``.

    0: nothing thawed; NaN: thawed to the lower end, or no data. A frozen crust is passed over, but
    not ground that has been frozen for the last ``year`` steps: what is thawed below it, from
    beneath the permafrost or enclosed, has not thawed from above.
    """
    nodes = centres.size
    if np.isnan(s[0, _T, j]):
        return np.nan
    top = 0
    while top < nodes and s[top, _HIGH, j] <= 0.0 and s[top, _AGE, j] < year:
        top += 1
    if top == nodes or s[top, _HIGH, j] <= 0.0:
        return 0.0
    for i in range(top + 1, nodes):
        low = s[i, _HIGH, j]
        if low <= 0.0:
            high = s[i - 1, _HIGH, j]
            return centres[i - 1] + high / (high - low) * (centres[i] - centres[i - 1])
    return np.nan
