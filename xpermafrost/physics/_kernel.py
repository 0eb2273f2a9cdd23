"""The compiled heart of the soil column: many columns at once, states kept in the cache.

Layout: a block of ``WIDTH`` columns is worked on at a time, its arrays are ``(node, WIDTH)``
and every inner loop runs over the block, so that the processor does eight columns with one
instruction and a block's state stays in the fast cache for all its years. The kernel
releases the interpreter lock; the caller runs one thread per share of the columns.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Columns worked on together. At 16 and below the compiler unrolls the inner loops instead of
#: using vector instructions (measured: 16 columns 49e6, 32 columns 240e6 cell-node-steps/s).
WIDTH = 32

# `nnan` and `ninf` stay off: a missing forcing must come out missing.
_FAST = {"contract", "arcp", "nsz", "reassoc"}


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
    h = np.empty((nodes, WIDTH))
    ct = np.empty((nodes, WIDTH))
    cf = np.empty((nodes, WIDTH))
    kt = np.empty((nodes, WIDTH))
    kf = np.empty((nodes, WIDTH))
    la = np.empty((nodes, WIDTH))
    wi = np.empty((nodes, WIDTH))
    bottom = np.empty(WIDTH)
    pick = np.empty(WIDTH, dtype=np.int64)
    for j in range(WIDTH):
        pick[j] = min(first + j, columns - 1)  # the last block is filled up with its last column
        bottom[j] = bottom_flux[pick[j]]
    for i in range(nodes):
        for j in range(WIDTH):
            p = pick[j]
            h[i, j] = enthalpy[i, p]
            ct[i, j] = heat_thawed[i, p]
            cf[i, j] = heat_frozen[i, p]
            kt[i, j] = cond_thawed[i, p]
            kf[i, j] = cond_frozen[i, p]
            la[i, j] = latent[i, p]
            wi[i, j] = width[i, p]

    t = np.empty((nodes, WIDTH))
    old = np.empty((nodes, WIDTH))  # enthalpy at the start of the step
    g = np.empty((nodes + 1, WIDTH))  # conductance of the upper face, W m-2 K-1
    up = np.empty((nodes, WIDTH))  # Thomas: super-diagonal over pivot
    x = np.empty((nodes, WIDTH))  # Thomas: right-hand side, then temperature
    cap = np.empty((nodes, WIDTH))  # apparent heat capacity dH/dT
    half = np.empty(WIDTH)
    ts = np.empty(WIDTH)
    energy = np.zeros(WIDTH)
    worst = np.empty(WIDTH)
    total = np.zeros((nodes, WIDTH))
    high = np.zeros((nodes, WIDTH))
    flux = np.zeros(WIDTH)
    iterations = 0
    storing = store.shape[0] > 0
    above = np.empty(WIDTH)  # conductance from the surface to the store
    below = np.empty(WIDTH)  # and from it to the first node
    capacity = np.empty(WIDTH)  # of the store, over the step [W m-2 K-1]
    held = np.empty(WIDTH)  # temperature of the store
    for j in range(WIDTH):
        held[j] = pack[pick[j]]

    for i in range(nodes):
        for j in range(WIDTH):
            t[i, j] = _temperature(h[i, j], ct[i, j], cf[i, j], la[i, j], wi[i, j])

    step = 0
    for period in range(months.size):
        for i in range(nodes):
            for j in range(WIDTH):
                total[i, j] = 0.0
                high[i, j] = -1e9
        for j in range(WIDTH):
            flux[j] = 0.0
        for _ in range(months[period]):
            # conductivity by the liquid share, at the start of the step
            for j in range(WIDTH):
                p = pick[j]
                ts[j] = surface[step, p]
                half[j] = resistance[step, p]
            for i in range(nodes):
                dz = thickness[i]
                for j in range(WIDTH):
                    cold = max(-t[i, j], 0.0)
                    inv = 1.0 / (wi[i, j] + cold)
                    share = wi[i, j] * inv
                    r = 0.5 * dz / (kf[i, j] + (kt[i, j] - kf[i, j]) * share)
                    g[i, j] = 1.0 / (half[j] + r)
                    half[j] = r
                    old[i, j] = h[i, j]
                    cap[i, j] = _slope(share, inv, t[i, j], ct[i, j], cf[i, j], la[i, j])
            for j in range(WIDTH):
                g[nodes, j] = 0.0
            if storing:
                # The store is one more unknown of the step, eliminated beforehand: what is left
                # of it is another surface temperature and another uppermost conductance.
                for j in range(WIDTH):
                    p = pick[j]
                    capacity[j] = store[step, p] / step_seconds
                    if capacity[j] > 0.0:
                        r = 0.5 * resistance[step, p]
                        above[j] = 1.0 / r
                        below[j] = 1.0 / (1.0 / g[0, j] - r)
                        both = capacity[j] + above[j]
                        ts[j] = (capacity[j] * held[j] + above[j] * ts[j]) / both
                        g[0, j] = below[j] * both / (both + below[j])
                    else:
                        held[j] = ts[j]
            for it in range(max_iterations):
                iterations += 1
                if it > 0:
                    for i in range(nodes):
                        for j in range(WIDTH):
                            cold = max(-t[i, j], 0.0)
                            inv = 1.0 / (wi[i, j] + cold)
                            share = wi[i, j] * inv
                            cap[i, j] = _slope(share, inv, t[i, j], ct[i, j], cf[i, j], la[i, j])
                # forward elimination; the heat equation in the unknown temperature x:
                # dz/dt (H + cap (x - T) - H_old) = g_up (x_up - x) - g_down (x - x_down)
                rate = thickness[0] / step_seconds
                for j in range(WIDTH):
                    a = rate * cap[0, j]
                    inv = 1.0 / (a + g[0, j] + g[1, j])
                    up[0, j] = g[1, j] * inv
                    x[0, j] = (rate * (old[0, j] - h[0, j]) + a * t[0, j] + g[0, j] * ts[j]) * inv
                for i in range(1, nodes):
                    rate = thickness[i] / step_seconds
                    for j in range(WIDTH):
                        a = rate * cap[i, j]
                        inv = 1.0 / (a + g[i, j] * (1.0 - up[i - 1, j]) + g[i + 1, j])
                        up[i, j] = g[i + 1, j] * inv
                        x[i, j] = (
                            rate * (old[i, j] - h[i, j]) + a * t[i, j] + g[i, j] * x[i - 1, j]
                        ) * inv
                        if i == nodes - 1:
                            x[i, j] += bottom[j] * inv
                for j in range(WIDTH):
                    worst[j] = 0.0
                for i in range(nodes - 1, -1, -1):
                    for j in range(WIDTH):
                        if i < nodes - 1:
                            x[i, j] += up[i, j] * x[i + 1, j]
                        h[i, j] += cap[i, j] * (x[i, j] - t[i, j])
                        new = _temperature(h[i, j], ct[i, j], cf[i, j], la[i, j], wi[i, j])
                        worst[j] = max(worst[j], abs(x[i, j] - new))
                        t[i, j] = new
                most = 0.0
                for j in range(WIDTH):
                    if worst[j] > most:
                        most = worst[j]
                if most <= tolerance:
                    break
            for j in range(WIDTH):
                # the flux that the linear solve balanced: enthalpy is conserved whatever the
                # tolerance
                entering = g[0, j] * (ts[j] - x[0, j])
                flux[j] += entering
                energy[j] += (entering + bottom[j]) * step_seconds
            if storing:
                for j in range(WIDTH):
                    if capacity[j] > 0.0:
                        both = capacity[j] + above[j]
                        held[j] = (both * ts[j] + below[j] * x[0, j]) / (both + below[j])
            for i in range(nodes):
                for j in range(WIDTH):
                    total[i, j] += t[i, j]
                    high[i, j] = max(high[i, j], t[i, j])
            step += 1
        count = months[period]
        last = min(WIDTH, columns - first)
        for row in range(weights.shape[0]):
            for j in range(last):
                mean = 0.0
                for i in range(nodes):
                    if weights[row, i] != 0.0:
                        mean += weights[row, i] * total[i, j]
                out[period, row, first + j] = mean / count
        for j in range(last):
            flux_mean[period, first + j] = flux[j] / count
            thaw[period, first + j] = _thaw_depth(high, t, j, centres)
    for j in range(min(WIDTH, columns - first)):
        heat_in[first + j] = energy[j]
        pack[first + j] = held[j]
        for i in range(nodes):
            enthalpy[i, first + j] = h[i, j]
    return iterations


@njit(inline="always")
def _temperature(h, ct, cf, latent, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Temperature [degC] of the enthalpy ``h`` [J m-3], 0 for thawed soil at 0 degC.

    Below 0: ``h = cf T - latent (1 - width / (width - T))``, a quadratic in T. The two forms
    of its root avoid cancellation.
    """
    b = cf * width + latent + h
    root = np.sqrt(max(b * b - 4.0 * cf * h * width, 0.0))
    num = 2.0 * h * width if b > 0.0 else b - root
    den = b + root if b > 0.0 else 2.0 * cf
    thawed = h >= 0.0
    num = h if thawed else num
    den = ct if thawed else den
    return num / den


@njit(inline="always")
def _slope(share, inv, t, ct, cf, latent):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Apparent heat capacity dH/dT [J m-3 K-1]; ``share`` is liquid, ``inv = 1/(width - T)``."""
    return ct if t >= 0.0 else cf + latent * share * inv


@njit(cache=True, nogil=True)
def _thaw_depth(high, latest, j, centres):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Depth [m] of 0 degC below the uppermost thawed soil, of the column ``j`` of ``high``.

    0: nothing thawed; NaN: thawed to the lower end, or no data. A frozen crust is passed over.
    """
    nodes = centres.size
    if np.isnan(latest[0, j]):
        return np.nan
    top = 0
    while top < nodes and high[top, j] <= 0.0:
        top += 1
    if top == nodes:
        return 0.0
    for i in range(top + 1, nodes):
        if high[i, j] <= 0.0:
            share = high[i - 1, j] / (high[i - 1, j] - high[i, j])
            return centres[i - 1] + share * (centres[i] - centres[i - 1])
    return np.nan
