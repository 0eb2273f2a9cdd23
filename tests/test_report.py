"""A report says what the functions return, loads nothing, and is there whole or not at all."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shutil
import subprocess
import warnings
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xpermafrost as xp
from xpermafrost import reporting, testing
from xpermafrost._report import caveats, results
from xpermafrost.errors import (
    DataError,
    DimensionError,
    LeakageError,
    ModelMismatchError,
    NotFittedError,
    OutputExistsError,
    PermafrostWarning,
    ScenarioError,
    TimeAxisError,
)
from xpermafrost.evaluation import scoreboard
from xpermafrost.projection import reference_mean
from xpermafrost.training import TrainingConfig

#: Names of regions are anybody's text.
PLACES = ("<script>alert(1)</script>", "a\"b'&amp; <i", "cost $x^ and $\\frac")
SPIED = ("project", "adjustment_report", "check_scenarios", "evaluate", "explain",
         "explain_scenarios")  # fmt: skip
VOID = {"meta", "link", "img", "br"}
#: Two variables to adjust, so two figures of quantiles.
FEW = {"features": ["tas", "snd", "month_sin", "month_cos"]}
QUICK = {"baselines": ["ridge"], "explain": False, "bootstrap": 0, "progress": False}


def trained(ds, name="gru", **options):
    config = TrainingConfig(epochs=1)
    given = {"train": ("2001", "2006"), "length": 12, "options": {"hidden": 8}, **options}
    return xp.fit(ds, name, config=config, jobs=1, progress=False, **given)


class Page(HTMLParser):
    """What a page holds; fails where an element is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text: dict[str, list[str]] = {}
        self.tables: list[dict] = []
        self.all_text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert len(given) == len(attrs)
        self.seen.append((tag, given))
        if tag in VOID:
            return
        self.open.append(tag)
        self.text.setdefault(tag, []).append("")
        if tag == "table":
            self.tables.append({"caption": "", "head": [], "rows": []})
        elif tag == "tr":
            part = "head" if "thead" in self.open else "rows"
            self.tables[-1][part].append([])
        elif tag in ("th", "td"):
            row = self.tables[-1]["head" if "thead" in self.open else "rows"][-1]
            row.append({"tag": tag, "text": "", "value": None, **given})
        elif tag == "data":
            self.cell()["value"] = float(given["value"]) if self.cell() else None

    def cell(self) -> dict:
        if not {"th", "td"} & set(self.open):
            return {}
        table = self.tables[-1]
        return table["head" if "thead" in self.open else "rows"][-1][-1]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.all_text += data
        for tag in set(self.open):
            self.text[tag][-1] += data
        if "caption" in self.open:
            self.tables[-1]["caption"] += data
        elif self.cell():
            self.cell()["text"] += data

    def table(self, start: str, number: int = 0) -> dict:
        return [t for t in self.tables if t["caption"].startswith(start)][number]

    def attributes(self, *names: str) -> list[str]:
        return [given[n] for _, given in self.seen for n in names if n in given]


def rows_of(table) -> dict[tuple[str, ...], list[dict]]:
    return {
        tuple(c["text"] for c in row if c["tag"] == "th"): [c for c in row if c["tag"] == "td"]
        for row in table["rows"]
    }


def numbers(cells) -> np.ndarray:
    return np.array([np.nan if c["value"] is None else c["value"] for c in cells])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small networks wait for each other's threads more than they compute."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world():
    return testing.experiment(future=56, locations=PLACES)


@pytest.fixture(scope="module")
def models(world):
    return [trained(world, members=2), trained(world, "bilstm")]


@pytest.fixture(scope="module")
def made(world, models, tmp_path_factory):
    """A report, what the functions returned while it was made, and what was gathered."""
    path = tmp_path_factory.mktemp("report") / "all.html"
    answers: dict[str, list] = {name: [] for name in (*SPIED, "gather")}

    def spy(module, name):
        real = getattr(module, name)

        def watched(*args, **kwargs):
            answers[name].append(real(*args, **kwargs))
            return answers[name][-1]

        return watched

    with pytest.MonkeyPatch.context() as patch:
        for name in SPIED:
            patch.setattr(results, name, spy(results, name))
        patch.setattr(reporting, "gather", spy(reporting, "gather"))
        back = xp.report(world, models, path, baselines=["climatology", "ridge"], windows=4,
                         bootstrap=50, title="A < B", progress=False)  # fmt: skip
    assert back == path
    return path, answers


@pytest.fixture(scope="module")
def page(made):
    return Page(made[0].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def gathered(made):
    return made[1]["gather"][0]


@pytest.fixture
def words_only(monkeypatch):
    """The page without the sections that draw."""
    kept = {key: make for key, make in reporting._SECTIONS.items() if key[0] in ("data", "caveats")}
    monkeypatch.setattr(reporting, "_SECTIONS", kept)


# --- the numbers --------------------------------------------------------------------------


def test_nothing_is_computed_twice(made):
    counts = {name: len(made[1][name]) for name in SPIED}
    assert counts == {
        "project": 2,  # of each model
        "adjustment_report": 1,
        "check_scenarios": 3,  # of the forcing, and of each projection
        "evaluate": 1,
        "explain": 2,
        "explain_scenarios": 2,
    }


def test_a_network_with_and_without_its_persistence_is_explained_once(models, monkeypatch, world):
    names = {"gru": models[0], "both": results.PersistenceModel(model=models[0], damping=None)}
    calls = []
    monkeypatch.setattr(results, "_explained", lambda ds, network, *_: calls.append(network))
    for name in ("_projected", "_scores", "adjustment_report", "check_scenarios"):
        monkeypatch.setattr(results, name, lambda *_, **__: None)
    asked = results.Asked(
        scenarios=None, baselines=[], test=None, periods=None, method="qdm", reference_period=None,
        extend=None, explain=True, windows=1, bootstrap=0, seed=0, device="cpu",
    )  # fmt: skip
    results.gather(world, names, asked, lambda _: None)
    assert calls == [models[0]]


def test_the_scoreboard_is_that_of_evaluate(page, made):
    [scores] = made[1]["evaluate"]
    frame = scoreboard(scores)
    table = page.table("Scoreboard")
    assert [c["text"] for c in table["head"][1]][2:6] == ["RMSE", "95 %", "R2", "bias"]
    rows = rows_of(table)
    kinds = ["model" if name in ("gru", "bilstm") else "baseline" for name in frame.index]
    assert list(rows) == list(zip(frame.index, kinds, strict=True))
    for (name, _), cells in rows.items():
        for cell, value in zip(cells, frame.loc[name], strict=True):
            if isinstance(value, str):
                assert cell["text"] == value
            else:
                assert cell["value"] == pytest.approx(value, rel=1e-5, abs=1e-9)
                assert float(cell["text"]) == pytest.approx(value, abs=0.0051)


def test_the_best_is_not_overclaimed(page, made, gathered):
    [scores] = made[1]["evaluate"]
    rows = rows_of(page.table("RMSE of a model minus"))
    assert len(rows) == 2 * 3
    for (name, other), (*cells, word) in rows.items():
        at = scores.sel(model=name, baseline=other)
        ends = [float(at[f"rmse_difference{k}"]) for k in ("", "_low", "_high")]
        np.testing.assert_allclose(numbers(cells), ends, rtol=1e-5, atol=1e-9)
        expected = "lower" if ends[2] < 0 else "higher" if ends[1] > 0 else "not separated"
        assert word["text"] == expected
    # had an interval held zero, the best would not stand alone
    best = str(scores["model"].values[int(scores["rmse_pooled"].argmin("model"))])
    low, high = scores["rmse_difference_low"] * 0 - 1, scores["rmse_difference_high"] * 0 + 1
    wide = scores.assign(rmse_difference_low=low, rmse_difference_high=high)
    from xpermafrost._report.scores import standing

    first, *rest = standing(gathered, wide)
    others = ", ".join(n for n in scores["model"].values if n != best)
    assert first == f"The lowest pooled RMSE has {best}; not separated from it: {others}."
    assert all("lower RMSE" not in line for line in rest)
    assert standing(gathered, scores)[0] in page.all_text


@pytest.mark.parametrize("number", [0, 1])
def test_projected_means_and_changes(page, made, world, number):
    out = made[1]["project"][number].reset_coords("outside_training_range", drop=True)
    base = reference_mean(world)
    means = xp.period_means(out).dropna("period", how="all")
    change = (means - base).mean("band")
    rows = rows_of(page.table("Soil temperature [degC]", number))
    assert len(rows) == 2 * 4
    several = out.sizes.get("member", 1) > 1
    assert several == (number == 0)
    for i, scenario in enumerate(("RCP2.6", "RCP8.5")):
        for k, layer in enumerate(("0-0.07 m", "0.07-0.28 m", "0.28-1 m", "1-2.89 m")):
            expected = []
            for p in range(2):
                each = change.isel(scenario=i, layer=k, period=p)
                expected += [float(means.isel(scenario=i, layer=k, period=p).mean())]
                expected += [float(each.mean())]
                expected += [float(each.min()), float(each.max())] if several else []
            np.testing.assert_allclose(numbers(rows[scenario, layer]), expected, rtol=1e-4,
                                       atol=1e-5)  # fmt: skip
    start = f"Change of soil temperature [K], {means['period'].values[-1]}"
    rows = rows_of(page.table(start, number))
    assert list(rows) == [(name,) for name in PLACES]
    by_place = (means.isel(period=-1) - base).mean([d for d in means.dims if d == "member"])
    expected = by_place.sel(band=PLACES[1]).transpose("scenario", "layer").values.ravel()
    np.testing.assert_allclose(numbers(rows[(PLACES[1],)]), expected, rtol=1e-4, atol=1e-5)


def test_the_extrapolated_share(page, made):
    share = made[1]["project"][0]["outside_training_range"]
    late = share.sel(time=slice("2041", "2060"), scenario="rcp85").mean()
    rows = rows_of(page.table("Extrapolation"))
    assert rows["RCP8.5",][-1]["value"] == pytest.approx(100 * float(late), rel=1e-4)


def test_the_adjustment(page, made):
    [tree] = made[1]["adjustment_report"]
    assert list(tree["change"]["horizon"].values) == ["2021/2040", "2041/2060"]
    kept = tree["divergence"]["tas"]
    rows = rows_of(page.table("Divergence preserved"))
    ends = np.stack([kept.min("band").values, kept.max("band").values], axis=1).ravel()
    found = numbers([c for k, c in enumerate(rows["tas",]) if k % 3 < 2])
    np.testing.assert_allclose(found, ends, rtol=1e-5)
    assert rows["tas",][2]["text"] == f"{int(kept.isel(horizon=0).count())} of 3"
    nothing = tree["divergence"]["rsds"].isnull()
    assert bool(nothing.all())
    assert rows["rsds",][0]["text"] == "–"  # noqa: RUF001
    rows = rows_of(page.table("Change signals"))
    change = tree["change"]["tas"].mean("band").sel(scenario="rcp85")
    pairs = change.transpose("horizon", "series").values.ravel()
    np.testing.assert_allclose(numbers(rows["tas [K]", "RCP8.5"]), pairs, rtol=1e-4)
    rows = rows_of(page.table("Bias"))
    left = tree["bias"]["tas"].mean("band")
    assert rows["tas [K]",][1]["value"] == pytest.approx(float(left.sel(series="adjusted")), 1e-5)


def test_the_checks(page, made):
    report = made[1]["check_scenarios"][-1]
    rows = page.table("Findings in the forcing")["rows"]
    found = [[c["text"] for c in row] for row in rows]
    columns = ["severity", "check", "variable", "scenario", "place", "period", "text"]
    assert found == report.findings[columns].astype(str).to_numpy().tolist()
    assert "Found in the forcing: 0 errors, 2 warnings, 0 notes." in page.all_text
    rows = rows_of(page.table("Differences of scenarios in the forcing"))
    at = report.differences.sel(variable="tas", pair="rcp85 - rcp26")
    assert rows["tas", "rcp85 - rcp26"][1]["value"] == pytest.approx(float(at["difference"]), 1e-5)


def test_the_attributions_sum_and_are_those_of_explain(page, made):
    why, _ = made[1]["explain"]
    bars = xp.importance(xp.group_features(why))
    table = page.table("Mean absolute attribution of gru")
    rows = rows_of(table)
    values = [cells[0]["value"] for cells in rows.values()]
    assert values == sorted(values, reverse=True)
    for (name,), cells in rows.items():
        one = bars.sel(feature=name)
        parts = [one["importance"], one["importance_low"], one["importance_high"],
                 100 * one["share"]]  # fmt: skip
        np.testing.assert_allclose(numbers(cells), [float(p) for p in parts], rtol=1e-4)
    worst = float((abs(why["residual"]) / why["prediction_std"]).max())
    [said] = [t for t in page.text["p"] if t.startswith("Sum check")][:1]
    assert f"at most {100 * worst:.3g} % of its standard deviation" in said
    rows = rows_of(page.table("Why RCP8.5 differs from RCP2.6"))
    difference = made[1]["explain_scenarios"][0]
    total = (difference["prediction"] - difference["base_value"]).mean("window").values
    for k, cells in enumerate(rows.values()):
        *parts, whole = numbers(cells)
        assert whole == pytest.approx(total[k], rel=1e-5)
        assert sum(parts) == pytest.approx(whole, abs=1e-3)


def test_where_everything_comes_from(page, models, world, made):
    text = page.all_text
    for model in models:
        assert model.id in text
        assert model.info["data_hash"] in text
    for words in ("2001-01 to 2008-12, 96 months", "0-0.07 m, 0.07-0.28 m, 0.28-1 m, 1-2.89 m",
                  "seeds 0, 1", f"xpermafrost {xp.__version__}", f"numpy {np.__version__}",
                  world.attrs["history"], made[1]["project"][0].attrs["history"]):  # fmt: skip
        assert words in text, words
    rows = rows_of(page.table("Periods of the runs"))
    assert [c["text"] for c in rows["RCP8.5",]] == ["2006-01", "2061-12", "projected"]
    rows = rows_of(page.table("Variables"))
    assert [c["text"] for c in rows["pr",]][:4] == [
        "precipitation",
        "kg m-2 s-1",
        "gru, bilstm",
        "0.0",
    ]
    mean = float(world["tas"].sel(scenario="reference").mean())
    assert rows["tas",][-1]["value"] == pytest.approx(mean, rel=1e-5)


def test_the_fingerprint_is_of_values_and_labels(world):
    first = results._fingerprint(world, ["tas", "tsl"])
    assert first == results._fingerprint(world.chunk(time=12), ["tsl", "tas"])
    other = world.copy(deep=True)
    other["tas"][0, 0, 70] += 0.01
    assert results._fingerprint(other, ["tas", "tsl"]) != first
    named = world.assign_coords(band=["a", "b", "c"])
    assert results._fingerprint(named, ["tas", "tsl"]) != first


# --- the page -----------------------------------------------------------------------------


def test_names_are_text(page):
    tags = Counter(tag for tag, _ in page.seen)
    assert not {"script", "i", "iframe", "object", "embed", "form"} & set(tags)
    assert not [k for _, given in page.seen for k in given if k.startswith("on")]
    assert page.text["h1"] == ["A < B"]
    rows = rows_of(page.table("What went in"))
    assert rows["band (3)",][0]["text"] == ", ".join(PLACES)


def test_it_loads_nothing(made, page):
    links = page.attributes("src", "href", "srcset", "action", "poster")
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    text = made[0].read_text(encoding="utf-8")
    [style] = page.text["style"]
    assert not re.search(r"url\(|@import|expression", style)
    assert "style" not in {k for _, given in page.seen for k in given}
    assert not re.search(r"https?://", re.sub(r'base64,[^"]*', "", text))
    [policy] = [g["content"] for t, g in page.seen if g.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_it_can_be_read_by_machines_and_screen_readers(page):
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.attributes("href") if link.startswith("#")} <= set(ids)
    assert set(page.attributes("aria-labelledby")) <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.seen if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    images = [given for tag, given in page.seen if tag == "img"]
    assert len(images) == 1 + 5 + 2 + 2 * 3  # skill, quantiles, fans, attributions
    assert all(len(given["alt"]) > 40 for given in images)
    assert dict(page.seen)["html"] == {"lang": "en"}
    for table in page.tables:
        assert table["caption"].strip()
        assert table["rows"]
        assert all(c.get("scope") in ("col", "colgroup") for r in table["head"] for c in r
                   if c["tag"] == "th")  # fmt: skip
        assert all(c.get("scope") == "row" for r in table["rows"] for c in r if c["tag"] == "th")
        width = sum(int(c.get("colspan", 1)) for c in table["head"][0])
        assert {len(row) for row in (table["head"][-1], *table["rows"])} == {width}
    regions = [given for tag, given in page.seen if given.get("role") == "region"]
    assert all(given["aria-label"] and given["tabindex"] == "0" for given in regions)


def test_the_size_is_that_of_a_picture(made):
    assert made[0].stat().st_size < 3e6


def browser() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    return found


def opened(path: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--enable-logging=stderr", f"--user-data-dir={folder}/profile", *options,
               path.as_uri()]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def console(done) -> list[str]:
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_opens_it_without_a_word(made, tmp_path):
    done = opened(made[0], tmp_path, "--dump-dom")
    assert console(done) == []
    shown = Page(done.stdout)
    assert shown.text["h1"] == ["A < B"]
    assert len(shown.tables) == len(Page(made[0].read_text(encoding="utf-8")).tables)
    bad = tmp_path / "bad.html"
    text = made[0].read_text(encoding="utf-8")
    bad.write_text(text.replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>'))
    # the console is heard: what is not in the file is refused by its own policy
    assert "Content Security Policy" in " ".join(console(opened(bad, tmp_path, "--dump-dom")))


def test_light_and_dark(made, tmp_path):
    from PIL import Image

    means = []
    for scheme in ("1", "0"):  # light, dark
        target = tmp_path / f"{scheme}.png"
        done = opened(made[0], tmp_path, "--window-size=500,900", f"--screenshot={target}",
                      f"--blink-settings=preferredColorScheme={scheme}")  # fmt: skip
        assert console(done) == []
        with Image.open(target) as image:
            grey = np.asarray(image.convert("L"), dtype="float64")
        assert grey.std() > 15  # there is something on it
        means.append(grey.mean())
    assert means[0] > 200
    assert means[1] < 80


# --- the file -----------------------------------------------------------------------------


def forbidden(*_, **__):
    raise AssertionError("nothing should be computed")


def test_nothing_is_overwritten_unasked(world, models, tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("mine")
    monkeypatch.setattr(reporting, "gather", forbidden)
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        xp.report(world, models, path)
    with pytest.raises(FileNotFoundError, match="does not exist; create it"):
        xp.report(world, models, tmp_path / "no" / "r.html")
    with pytest.raises(DataError, match=r"report writes HTML; 'r.pdf' .* Type 'report.html'"):
        xp.report(world, models, tmp_path / "r.pdf")
    assert path.read_text() == "mine"


@pytest.mark.usefixtures("words_only")
def test_it_is_never_half_written(world, models, gathered, tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("mine")
    monkeypatch.setattr(reporting, "gather", lambda *_: gathered)
    with monkeypatch.context() as patch:
        patch.setattr(reporting, "page", forbidden)
        with pytest.raises(AssertionError, match="nothing should be computed"):
            xp.report(world, models, path, overwrite=True)
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    xp.report(world, models, path, overwrite=True)
    assert Page(path.read_text(encoding="utf-8")).text["h1"] == ["made-up test data"]


def test_the_same_call_writes_the_same_file(tmp_path, unchanged):
    """By the function, by the accessor, from memory and from dask."""
    ds = testing.experiment(locations=["one", "two"])
    gru = trained(ds, **FEW)
    files = [tmp_path / "a.html", tmp_path / "b.html"]
    with unchanged(ds):
        xp.report(ds, gru, files[0], scenarios="rcp85", **QUICK)
    ds.chunk(time=24).permafrost.report([gru], files[1], scenarios=["rcp85"], **QUICK)
    assert files[0].read_bytes() == files[1].read_bytes()
    page = Page(files[0].read_text(encoding="utf-8"))
    # nine years are no climate, one scenario no divergence, and nothing was explained or resampled
    assert "No period has ten whole years of the projection: no means." in page.all_text
    assert "Left out, as asked: explain=False." in page.all_text
    assert not [t for t in page.tables if t["caption"].startswith(("Divergence", "RMSE of a"))]
    assert "95 %" not in [c["text"] for c in page.table("Scoreboard")["head"][1]]


@pytest.mark.usefixtures("words_only")
def test_warnings_are_given_and_told(tmp_path):
    ds = testing.experiment()
    path = tmp_path / "r.html"
    with pytest.warns(PermafrostWarning, match="of the difference between the scenarios") as told:
        xp.report(ds, trained(ds), path, **QUICK)
    page = Page(path.read_text(encoding="utf-8"))
    for one in told:
        assert f"Warned while this was made. {one.message}" in page.all_text
    assert "Divergence lost. The adjustment keeps only" in page.all_text


def test_warnings_of_others_are_passed_on(world, models, tmp_path, monkeypatch):
    def speaking(*_, **__):
        warnings.warn("of another package", FutureWarning, stacklevel=1)
        raise DataError("enough")

    monkeypatch.setattr(results, "project", speaking)
    with pytest.raises(DataError, match="enough"):
        xp.report(world, models[:1], tmp_path / "r.html")


# --- several climate models, stations, years without a test ---------------------------------


def test_several_climate_models_and_no_test_year_left(tmp_path):
    part = {"locations": ["s1", "s2"], "dim": "station"}
    record = testing.canonical(years=8, **part)
    runs = {
        name: {
            "historical": testing.canonical(years=10, start="1996", seed=seed, **part),
            "rcp85": testing.canonical(years=60, start="2006", seed=seed + 1, warming=w, **part),
        }
        for name, seed, w in (("A & B", 1, 0.3), ("C<D", 3, 0.6))
    }
    ds = xp.combine(record, **runs)
    gru = trained(ds, train="all", **FEW)
    path = xp.report(ds, gru, tmp_path / "r.html", **QUICK)
    page = Page(path.read_text(encoding="utf-8"))
    assert rows_of(page.table("What went in"))["climate models",][0]["text"] == "A & B, C<D"
    out = xp.project(ds, gru).reset_coords("outside_training_range", drop=True)
    change = xp.period_means(out, periods=[("2021", "2040"), ("2041", "2060")])
    change = (change - reference_mean(ds)).mean("station").isel(scenario=0, layer=0)
    each = change.transpose("period", "esm").values
    rows = rows_of(page.table("Soil temperature [degC]"))
    found = numbers(rows["RCP8.5", "0-0.07 m"]).reshape(2, 4)[:, 1:]
    expected = np.stack([each.mean(1), each.min(1), each.max(1)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert "Lowest and highest change of 2 climate models." in page.table("Soil temp")["caption"]
    assert "Not scored: a model was trained to the end of the record" in page.all_text
    heads = page.text["strong"]
    assert "Not scored." in heads
    assert "One climate model is not an ensemble." not in heads
    assert "A reanalysis is not the truth." not in heads  # stations are observed


# --- caveats ------------------------------------------------------------------------------


def heads(gathered, **changes) -> list[str]:
    return [head for head, _ in caveats.caveats(dataclasses.replace(gathered, **changes))]


def test_caveats_are_those_that_apply(gathered, page, world):
    found = heads(gathered)
    assert page.text["strong"] == [f"{head}." for head in found]
    assert "The data are simulated" not in found
    for head in ("A reanalysis is not the truth", "One climate model is not an ensemble",
                 "4 layers give no active-layer thickness without an error bar", "2 test years",
                 "Trained on the record alone", "One network", "Inputs outside the training range",
                 "The check of the forcing found warnings"):  # fmt: skip
        assert head in found, head
    marked = world.assign_attrs(simulated="yes: made up")
    found = heads(gathered, ds=marked)
    assert found[0] == "The data are simulated"
    assert "A reanalysis is not the truth" not in found
    assert "A reanalysis is not the truth" not in heads(gathered, place="station")
    [text] = [t for h, t in caveats.caveats(gathered) if h == "One network"]
    assert text.startswith("bilstm: ")  # the gru has two


def test_caveats_follow_the_numbers(gathered):
    assert "An attribution explains the model, not the soil" not in heads(gathered, explained={})
    assert "Not scored" in heads(gathered, scores=None)
    some = gathered.projections["gru"]
    inside = {"gru": dataclasses.replace(some, outside=some.outside * 0)}
    assert "Inputs outside the training range" not in heads(gathered, projections=inside)
    one = gathered.explained["gru"]
    off = one.why.assign(residual=one.why["residual"] + one.why["prediction_std"])
    broken = {"gru": dataclasses.replace(one, why=off)}
    assert "Attributions that do not sum" in heads(gathered, explained=broken)
    assert "Attributions that do not sum" not in heads(gathered)
    tree = gathered.adjustment.copy(deep=True)
    tree["divergence"]["tas"][0, 0] = np.nan
    near = dict(caveats.caveats(dataclasses.replace(gathered, adjustment=tree)))
    text = near["Too near to tell scenarios apart"]
    assert text.startswith("In 2021-2040 the climate model's own RCP8.5 and RCP2.6 differ in tas")
    assert "at 1 of 3 places" in text
    tree.attrs["method"] = "none"
    assert "No adjustment" in heads(gathered, adjustment=tree)
    gaps = gathered.reference["tsl"].where(gathered.reference["time"].dt.year > 2001)
    assert "Soil temperature has gaps" in heads(
        gathered, reference=gathered.reference.assign(tsl=gaps)
    )


@pytest.mark.usefixtures("words_only")
def test_simulated_data_are_marked_on_top(gathered, world, models, tmp_path, monkeypatch):
    marked = dataclasses.replace(gathered, ds=world.assign_attrs(simulated="yes: made <up>"))
    monkeypatch.setattr(reporting, "gather", lambda *_: marked)
    page = Page(xp.report(world, models, tmp_path / "r.html").read_text(encoding="utf-8"))
    before = page.all_text.index("SIMULATED DATA: made <up>. No number here holds for a real place")
    assert before < page.all_text.index("Soil temperature by gru")
    classes = [given.get("class") for tag, given in page.seen if tag == "p"]
    assert classes[0] == "alert"


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gru", r"'gru' is a name. Fit it before.*ds.permafrost.fit\('gru', train="),
        (["gru"], "'gru' is a name"),
        (3, "got int. Baselines are scored beside them"),
    ],
)
def test_a_model_must_be_fitted(world, tmp_path, given, message, monkeypatch):
    monkeypatch.setattr(reporting, "gather", forbidden)
    with pytest.raises(NotFittedError, match=message):
        xp.report(world, given, tmp_path / "r.html")
    with pytest.raises(DataError, match="report needs a fitted model; got none"):
        xp.report(world, [], tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_other_places_or_layers(world, models, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "evaluate", forbidden)
    elsewhere = testing.experiment(future=56, locations=["x", "y"])
    with pytest.raises(ModelMismatchError, match="the model knows the"):
        xp.report(elsewhere, models[0], tmp_path / "r.html")
    with pytest.raises(ModelMismatchError, match=r"^model 'gru': the model knows the"):
        xp.report(elsewhere, models, tmp_path / "r.html")
    thin = testing.experiment(future=56, locations=PLACES, edges=(0.0, 0.1, 1.0))
    with pytest.raises(ModelMismatchError, match="layers with bounds"):
        xp.report(thin, models[0], tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scenarios": "rcp8"}, ScenarioError, "unknown scenario 'rcp8'; did you mean 'rcp85'"),
        ({"periods": [("2081", "2120")]}, TimeAxisError, r"within 2006 to 2061.*Type periods="),
        ({"periods": []}, TimeAxisError, "within 2006 to 2061"),
        ({"method": "qmd"}, xp.errors.UnknownNameError, "did you mean 'qdm'"),
        ({"test": ("2005", "2006")}, LeakageError, "overlap"),
    ],
)
def test_what_is_asked_for_is_checked(world, models, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        xp.report(world, models[0], tmp_path / "r.html", **QUICK, **options)
    assert list(tmp_path.iterdir()) == []


def test_what_a_report_is_not_of(models, tmp_path, ds):
    with pytest.raises(ScenarioError, match="Join scenarios first"):
        xp.report(ds, models[0], tmp_path / "r.html")
    runs = {"historical": testing.gridded(years=10, start="1996")}
    grid = xp.combine(testing.gridded(), rcp85=testing.gridded(start="2006"), **runs)
    with pytest.raises(DimensionError, match="Reduce it before the training"):
        xp.report(grid, models[0], tmp_path / "r.html")
    world = testing.experiment(locations=PLACES).drop_vars("tsl")
    with pytest.raises(DataError, match="report needs the soil temperature 'tsl'"):
        xp.report(world, models[0], tmp_path / "r.html")


def test_twins_are_told_apart_as_in_the_scoreboard(models, made):
    assert list(results.fitted_models([models[0], models[0], models[1]])) == [
        "gru_0",
        "gru_1",
        "bilstm",
    ]
    [scores] = made[1]["evaluate"]
    assert list(results.fitted_models(models)) == list(scores["model"].values[:2])


def test_few_panels_of_many_places():
    from xpermafrost._report.words import PANELS, drawn

    many = xr.DataArray(np.zeros(20), {"lat": ("station", np.arange(20.0))}, ("station",))
    some, note = drawn(many, "station")
    assert some.sizes["station"] == PANELS
    assert some["lat"].values[[0, -1]].tolist() == [19.0, 0.0]  # from north to south
    assert note == f" Drawn are {PANELS} of 20 places; tables have all."
    assert drawn(many[:PANELS], "station")[1] == ""
