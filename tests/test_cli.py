"""The command line: what it writes is what the functions return, and mistakes are one line."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

import xpermafrost as xp
from xpermafrost import cli, testing
from xpermafrost.errors import PermafrostWarning

ROOT = Path(__file__).parent.parent
COMMANDS = ("demo", "identify", "standardize", "project", "evaluate", "report")
REFERENCE = ("--reference", "era5land_monthly.nc", "--regions", "places.geojson")
SCENARIOS = ("--scenarios", "historical=esm_historical.nc", "rcp85=esm_rcp85.nc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the tutorial, two regions, and a network saved."""
    folder = tmp_path_factory.mktemp("cli")
    before = Path.cwd()
    os.chdir(folder)
    try:
        runpy.run_path(str(ROOT / "docs" / "tutorial_files.py"))
    finally:
        os.chdir(before)
    outlines = [shapely.box(-161, 61, -151, 65), shapely.box(-161, 65, -151, 69)]
    frame = geopandas.GeoDataFrame({"name": ["south", "north"]}, geometry=outlines, crs=4326)
    frame.to_file(folder / "places.geojson")
    gru = world(folder).permafrost.fit(
        "gru", train=("2001", "2009"), config=xp.TrainingConfig(epochs=1), progress=False
    )
    gru.save(folder / "gru.xpm")
    return folder


def world(folder: Path) -> xr.Dataset:
    """What ``REFERENCE`` and ``SCENARIOS`` mean, by the functions."""
    reference = xp.open_dataset(folder / "era5land_monthly.nc")
    esm = {n: xp.open_raw(folder / f"esm_{n}.nc") for n in ("historical", "rcp85")}
    return reference.permafrost.with_scenarios(esm, regions=folder / "places.geojson")


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def refused(argv, capsys) -> str:
    """The one line of a request that is refused."""
    assert cli.main([str(a) for a in argv]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("xpermafrost: ")
    return lines[0]


def usage_error(argv, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in argv])
    assert stop.value.code == 2
    return capsys.readouterr().err


def read(path: Path) -> xr.Dataset:
    with xr.open_dataset(path) as ds:
        return xp.from_cf(ds.load())


# --- help, and what an import costs -------------------------------------------------------


def test_python_dash_m_shows_the_commands_and_is_light():
    code = "import sys, xpermafrost.cli; print([m for m in ('torch', 'xclim') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    command = [sys.executable, "-m", "xpermafrost", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(f"\n    {name}" in done.stdout for name in COMMANDS)
    assert "exit codes: 0" in done.stdout
    assert done.stderr == ""


def test_the_script_is_declared():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"xpermafrost": "xpermafrost.cli:main"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"examples:\n  xpermafrost {command}" in capsys.readouterr().out


def test_the_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"xpermafrost {xp.__version__}\n"


# --- identify, standardize ----------------------------------------------------------------


def test_identify_shows_what_the_function_says(here, capsys):
    assert cli.main(["identify", "era5land_monthly.nc"]) == 0
    shown = capsys.readouterr()
    lines = {line.split()[0]: line for line in shown.out.splitlines()}
    table = xp.identify(xp.open_raw("era5land_monthly.nc"))
    assert set(lines) == {"variable", *table["variable"]}
    assert "mean daily total x 1000 / 86400 s" in lines["tp"]
    assert lines["stl4"].split()[:6] == ["stl4", "tsl", "K", "K", "1.0", "2.89"]
    assert shown.err == ""


def test_identify_tells_problems_and_source_settles_them(here, tmp_path, capsys):
    raw = xr.open_dataset("era5land_monthly.nc")[["sde"]].rename(sde="snow_depth")
    raw.to_netcdf(tmp_path / "snow.nc")
    assert "snow_depth: " in refused(["identify", tmp_path / "snow.nc"], capsys)
    assert cli.main(["identify", str(tmp_path / "snow.nc"), "--source", "era5-land"]) == 0


def test_identify_of_nothing_known_is_refused(tmp_path, capsys):
    file = tmp_path / "odd.nc"
    xr.Dataset({"qqq": ("x", [1.0, 2.0], {"units": "furlong"})}).to_netcdf(file)
    assert "nothing is recognised" in refused(["identify", file], capsys)


def test_standardize_writes_what_the_function_returns(here, tmp_path, capsys):
    target = tmp_path / "canonical.nc"
    assert cli.main(["standardize", "era5land_monthly.nc", "-o", str(target)]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {target}: ")
    expected = xp.open_dataset("era5land_monthly.nc")
    xr.testing.assert_equal(read(target).set_coords("depth_bnds"), expected)


def test_nothing_is_overwritten_unasked(here, tmp_path, capsys):
    target = tmp_path / "canonical.nc"
    target.write_text("mine")
    argv = ["standardize", "era5land_monthly.nc", "-o", target]
    assert "pass --overwrite" in refused(argv, capsys)
    assert target.read_text() == "mine"
    assert cli.main([*map(str, argv), "--overwrite"]) == 0
    assert "tas" in read(target)


def test_a_file_that_is_read_is_not_replaced(tmp_path, capsys):
    file = tmp_path / "data.nc"
    xp.to_netcdf(testing.canonical(years=2), file)
    before = file.read_bytes()
    argv = ["standardize", file, "-o", tmp_path / "." / "data.nc", "--overwrite"]
    assert "is read and would be replaced" in refused(argv, capsys)
    assert file.read_bytes() == before


# --- project ------------------------------------------------------------------------------


def test_project_writes_what_the_function_returns(here, tmp_path, capsys):
    target = tmp_path / "projection.nc"
    argv = ["project", *REFERENCE, *SCENARIOS, "--model", "ridge", "--rcp", "8.5", "--train"]
    assert cli.main([*argv, "2001", "2009", "-o", str(target)]) == 0
    expected = world(here).permafrost.project("ridge", rcp="8.5", train=("2001", "2009"))
    xr.testing.assert_allclose(read(target)["soil_temperature"], expected, rtol=1e-6)
    shown = capsys.readouterr().out
    assert f"wrote {target}: scenario 1, region 2, layer 4" in shown
    mean = xp.period_means(expected).sel(period="2041-2060").mean("region").isel(layer=0)
    assert f"{mean.item():.2f}" in shown


def test_project_from_a_saved_network_into_a_map(here, tmp_path):
    target = tmp_path / "map.gpkg"
    argv = ["project", *REFERENCE, *SCENARIOS, "--model", "gru.xpm", "-o", str(target)]
    assert cli.main(argv) == 0
    out = world(here).permafrost.project(xp.load_model("gru.xpm"))
    frame = geopandas.read_file(target).set_index("region")
    mean = out.sel(time=slice("2031", "2040"), scenario="rcp85").isel(layer=0).mean("time")
    column = frame["soil_temperature_rcp85_0_7cm_2031_2040"]
    np.testing.assert_allclose(column[mean["region"].values], mean, rtol=1e-5)


def test_project_trains_the_members_that_are_asked_for(here, tmp_path):
    target = tmp_path / "two.nc"
    argv = ["project", *REFERENCE, *SCENARIOS, "--epochs", "1", "--members", "2", "--seed", "3"]
    assert cli.main([*argv, "-o", str(target)]) == 0
    config = xp.TrainingConfig(epochs=1)
    expected = world(here).permafrost.project("gru", n_members=2, seed=3, config=config)
    xr.testing.assert_allclose(read(target)["soil_temperature"], expected, rtol=1e-6)


def test_files_of_cmip_need_no_names(here, tmp_path):
    """As ESGF calls them; a pattern in quotes is resolved here."""
    for name in ("historical", "rcp85"):
        ds = xr.open_dataset(f"esm_{name}.nc").drop_attrs(deep=False)
        for variable in ds.data_vars:
            ds[[variable]].to_netcdf(tmp_path / f"{variable}_Amon_ESM_{name}_r1i1p1f1_gn.nc")
    target, model = tmp_path / "out.nc", ("--model", "climatology")
    argv = ["project", *REFERENCE, "--scenarios", str(tmp_path / "*_gn.nc"), *model]
    assert cli.main([*argv, "-o", str(target)]) == 0
    assert read(target)["scenario"].values.tolist() == ["rcp85"]


def test_a_grid_goes_into_a_folder_of_geotiffs(here, tmp_path, capsys):
    argv = ["project", *REFERENCE[:2], *SCENARIOS, "--model", "climatology"]
    assert cli.main([*argv, "-o", str(tmp_path)]) == 0
    files = list(tmp_path.glob("*.tif"))
    assert f"wrote {len(files)} GeoTIFFs" in capsys.readouterr().out
    assert files
    assert "--overwrite" in refused([*argv, "-o", tmp_path], capsys)
    assert "takes regions or stations" in refused([*argv, "-o", tmp_path / "a.gpkg"], capsys)
    argv += ["--regions", "places.geojson"]
    assert "takes GeoTIFFs of a grid" in refused([*argv, "-o", tmp_path], capsys)


# --- evaluate, demo -----------------------------------------------------------------------


def test_evaluate_shows_the_scoreboard_and_writes_it(here, tmp_path, capsys):
    options = ["--train", "2001", "2009", "--test", "2010", "2012", "--bootstrap", "50"]
    argv = ["evaluate", *REFERENCE, "--models", "gru.xpm", "--baselines", "trend", *options]
    for name in ("scores.csv", "scores.nc"):
        assert cli.main([*argv, "-o", str(tmp_path / name)]) == 0
    expected = world(here).permafrost.evaluate(
        xp.load_model("gru.xpm"), baselines=["trend"], train=("2001", "2009"),
        test=("2010", "2012"), bootstrap=50,
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "scores.csv", index_col="model")
    pd.testing.assert_frame_equal(table, xp.scoreboard(expected))
    xr.testing.assert_allclose(read(tmp_path / "scores.nc")["rmse"], expected["rmse"])
    shown = capsys.readouterr().out
    assert f"{expected['rmse_pooled'].sel(model='trend').item():.2f}" in shown


def test_the_demo_from_training_to_a_file(monkeypatch, tmp_path, capsys):
    """On a smaller world than the sample; its places are the six bands of Alaska."""
    bands = xp.alaska_bands()
    small = testing.experiment(future=95, locations=bands.names).assign_attrs(simulated="yes")
    monkeypatch.setattr("xpermafrost.datasets.alaska_sample", lambda: small)
    target = tmp_path / "demo.gpkg"
    argv = ["demo", "--model", "gru", "--epochs", "1", "-o", str(target)]
    assert cli.main(argv) == 0
    shown = capsys.readouterr().out
    assert "Simulated data" in shown
    assert "damped_persistence" in shown
    assert "2081-2100" in shown
    assert geopandas.read_file(target)["band"].tolist() == list(bands.names)
    assert "--overwrite" in refused(argv, capsys)


# --- report -------------------------------------------------------------------------------


def test_report_is_that_of_the_function(here, tmp_path, monkeypatch, capsys):
    from xpermafrost import reporting

    seen, real = [], reporting.report

    def noted(ds, models, path, **options):
        seen.append((ds, models, options))
        return real(ds, models, path, **options)

    monkeypatch.setattr(reporting, "report", noted)
    target = tmp_path / "r.html"
    argv = ["report", *REFERENCE, *SCENARIOS, "--models", "gru.xpm", "--baselines", "climatology"]
    argv += ["--bootstrap", "20", "--no-explain", "--title", "A&B", "-o", str(target)]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out.startswith(f"wrote {target}: ")
    [(ds, [model], options)] = seen
    xr.testing.assert_allclose(ds, world(here))
    assert model.id == xp.load_model("gru.xpm").id
    asked = {"baselines": ["climatology"], "bootstrap": 20, "explain": False, "title": "A&B"}
    assert asked.items() <= options.items()
    assert "<h1>A&amp;B</h1>" in target.read_text(encoding="utf-8")
    assert "--overwrite" in refused(argv, capsys)


def test_report_trains_what_is_named_on_the_months_of_what_is_saved(here, tmp_path, monkeypatch):
    seen = []

    def noted(ds, models, path, **options):
        seen.append((models, options))
        path.write_text("")
        return path

    monkeypatch.setattr("xpermafrost.reporting.report", noted)
    argv = ["report", *REFERENCE, *SCENARIOS, "--models", "gru", "gru.xpm", "--epochs", "1"]
    argv += ["--members", "2", "--seed", "3", "--rcp", "8.5", "--test", "2010", "2012"]
    assert cli.main([*argv, "-o", str(tmp_path / "r.html")]) == 0
    [(models, options)] = seen
    assert [len(model.nets) for model in models] == [2, 1]
    assert models[0].info["seeds"] == [3, 4]
    assert {model.info["train_end"] for model in models} == {"2009-12"}
    assert (options["scenarios"], options["test"]) == (["rcp85"], ("2010", "2012"))
    assert (options["baselines"], options["explain"]) == ("all", True)


# --- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["identify", "absent.nc"], "there is no file 'absent.nc'"),
        (["standardize", "places.geojson", "-o", "x.nc"], "is JSON, not data"),
        (["standardize", "era5land_monthly.nc", "-o", "no/x.nc"], "the folder 'no' does not exist"),
        (["demo", "--model", "gur"], "did you mean 'gru'"),
        (["project", *REFERENCE, *SCENARIOS, "--model", "no.xpm", "-o", "x.nc"], "no model file"),
        (
            ["project", *REFERENCE, *SCENARIOS, "--model", "ridge", "--rcp", "4.5", "-o", "x.nc"],
            "unknown scenario 'rcp45'; did you mean 'rcp85'",
        ),
        (
            ["project", *REFERENCE, "--scenarios", "esm_rcp85.nc", "-o", "x.nc"],
            "Or say what it is: --scenarios historical=FILE rcp85=FILE.",
        ),
        (["report", *REFERENCE[:2], *SCENARIOS, "-o", "x.html"], "of a grid. Type --regions"),
        (
            ["report", *REFERENCE, *SCENARIOS, "--rcp", "4.5", "-o", "x.html"],
            "unknown scenario 'rcp45'; did you mean 'rcp85'",
        ),
        (
            ["report", *REFERENCE, *SCENARIOS, "--models", "ridge", "-o", "x.html"],
            "unknown model 'ridge'",
        ),
        (["evaluate", *REFERENCE[:3], "alaska"], "did you mean 'alaska-bands'"),
        (["evaluate", *REFERENCE[:3], "none.geojson"], "there is no file 'none.geojson'"),
        (["evaluate", *REFERENCE, "--models", "gru", "--train", "all"], "--train 2001 2018"),
    ],
)
def test_a_refusal_is_one_line(argv, message, here, capsys):
    assert message in refused(argv, capsys)
    assert not Path("x.nc").exists()
    assert not Path("x.html").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: COMMAND"),
        (["predict"], "invalid choice: 'predict'"),
        (["standardize", "a.nc"], "required: -o"),
        (["standardize", "a.nc", "-o", "b.xyz"], "ends in none of .nc"),
        (["project", *REFERENCE, "-o", "x.nc"], "required: --scenarios"),
        (["report", *REFERENCE, *SCENARIOS, "-o", "x.nc"], "ends in none of .html"),
        (["report", *REFERENCE, *SCENARIOS], "required: -o"),
        (
            [
                "report",
                *REFERENCE,
                *SCENARIOS,
                "--models",
                "gru.xpm",
                "--epochs",
                "3",
                "-o",
                "x.html",
            ],
            "--epochs is for what is trained here",
        ),
        (["demo", "--members", "0"], "a whole number from 1 on"),
        (["evaluate", *REFERENCE, "--seed", "-1"], "--seed"),
        (["evaluate", *REFERENCE, "--test", "2010"], "--test takes the first and the last year"),
        (["evaluate", *REFERENCE, "--train", "a", "b"], "--train takes the first and the last"),
        (
            ["project", *REFERENCE, *SCENARIOS, "--model", "gru.xpm", "--members", "3"],
            "--members is for what is trained here",
        ),
        (
            ["project", *REFERENCE, *SCENARIOS, "--model", "ridge", "--members", "3"],
            "--members is for networks; ridge is a baseline",
        ),
        (
            ["project", *REFERENCE, *SCENARIOS, "esm_rcp26.nc", "--model", "ridge"],
            "name all of them",
        ),
        (
            ["project", *REFERENCE, *SCENARIOS, "--esm", "CCSM4", "--model", "ridge"],
            "--esm chooses among CMIP files",
        ),
    ],
)
def test_wrong_usage_exits_with_2(argv, message, here, capsys):
    if argv[:1] == ["project"] and "-o" not in argv:
        argv = [*argv, "-o", "x.nc"]
    assert message in usage_error(argv, capsys)


def test_debug_shows_the_traceback(here, capsys):
    assert cli.main(["identify", "absent.nc", "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_error_of_the_package_itself_is_not_hidden(monkeypatch, here):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("xpermafrost.sources.open_raw", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["identify", "era5land_monthly.nc"])


def test_warnings_are_a_line_and_those_of_others_wait_for_debug(monkeypatch, here, capsys):
    real = xp.open_raw

    def warned(files):
        warnings.warn("months\nare preliminary", PermafrostWarning, stacklevel=1)
        warnings.warn("soon to change", FutureWarning, stacklevel=1)
        return real(files)

    seen = []
    monkeypatch.setattr("xpermafrost.sources.open_raw", warned)
    monkeypatch.setattr("warnings.showwarning", lambda message, *_: seen.append(str(message)))
    for extra in ([], ["--debug"]):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert cli.main(["identify", "era5land_monthly.nc", *extra]) == 0
        assert capsys.readouterr().err == "xpermafrost: warning: months are preliminary\n"
        assert ("soon to change" in seen) == bool(extra)


def test_an_interruption_is_told(monkeypatch, here, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("xpermafrost.sources.open_raw", stopped)
    assert cli.main(["identify", "era5land_monthly.nc"]) == 130
    assert capsys.readouterr().err == "xpermafrost: interrupted\n"


def test_a_reader_that_has_seen_enough_sees_no_traceback(here):
    command = f"{sys.executable} -m xpermafrost identify era5land_monthly.nc | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
