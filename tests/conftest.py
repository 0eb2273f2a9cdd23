"""Fixtures that several test modules share: small data, small networks."""

from __future__ import annotations

import contextlib

import pytest
import xarray as xr

from xpermafrost import testing

TINY = {"hidden": 8}


@pytest.fixture(scope="session")
def quick():
    """A training that takes a moment."""
    from xpermafrost.training import TrainingConfig

    return TrainingConfig(epochs=2)


@pytest.fixture(scope="session")
def _ds():
    return testing.canonical(years=8)


@pytest.fixture(scope="session")
def _world():
    return testing.experiment()


@pytest.fixture
def ds(_ds):
    """A canonical Dataset 2001-2008 on three bands."""
    return _ds.copy(deep=True)


@pytest.fixture
def world(_world):
    """An experiment Dataset: reference 2001-2008, historical 1996-2005, RCPs 2006-2017."""
    return _world.copy(deep=True)


@pytest.fixture(scope="session")
def gru(_ds, quick):
    """A small GRU trained on 2001-2006 of ``ds``; the last two years are left for testing."""
    from xpermafrost.training import fit

    return fit(_ds, "gru", config=quick, options=TINY, jobs=1, progress=False)


@pytest.fixture(scope="session")
def world_gru(_world, quick):
    """As ``gru``, trained on the reference of ``world``."""
    from xpermafrost.training import fit

    return fit(_world, "gru", config=quick, options=TINY, jobs=1, progress=False)


@pytest.fixture(autouse=True)
def own_models():
    """Networks that a test registers are forgotten after it."""
    from xpermafrost.models import MODELS

    before = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(before)


@pytest.fixture
def unchanged():
    """``with unchanged(ds): ...`` fails where the block writes to ``ds``."""

    @contextlib.contextmanager
    def guard(*objects: xr.Dataset | xr.DataArray):
        before = [obj.copy(deep=True) for obj in objects]
        yield
        for obj, old in zip(objects, before, strict=True):
            xr.testing.assert_identical(obj, old)
            for name in getattr(obj, "variables", {}):
                assert obj[name].encoding == old[name].encoding

    return guard
