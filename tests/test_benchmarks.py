"""The comparison with the peers: stages run at a tiny size, ratios and tables are right."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psutil", reason="the benchmarks need the extra bench")

from benchmarks import _page, bench_asv, compare
from benchmarks._measure import Growth, Taken, exponent, grow, measure, peak_of, take_turns
from benchmarks._stages import (
    Missing,
    Outside,
    Stage,
    Work,
    copy_of,
    furthest,
    peer,
    products_of,
    read_of,
)

pytestmark = pytest.mark.filterwarnings(  # the diagnostics are of monthly means on purpose
    "ignore::xpermafrost.errors.PermafrostWarning"
)

ROOT = Path(__file__).parent.parent
LINUX = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the high-water mark"
)
#: Stages whose tiny size still takes seconds, as their networks must be trained first.
SLOW = ("train", "explain", "predict")


def cells(table: str) -> list[list[str]]:
    """Cells of a Markdown table, without the rule."""
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for k, line in enumerate(lines) if k != 1]


def taken(clock, processors, peak=1.0, **more):
    return Taken(clock=clock, processors=processors, peak=peak, **more)


@pytest.fixture
def work():
    return Work(
        size="3 sheep",
        ours={"ours": lambda: 1.0},
        peers={"theirs": lambda: 2.0, "other": Missing(why="not installed")},
        limits={"copy": lambda: None},
        off=lambda a, b: abs(b / a - 1),
    )


def test_ratios_are_to_the_first_row():
    found = {
        "ours": taken(0.5, 1.0),
        "theirs": taken(2.0, 3.0),
        "absent": Missing(why="not installed"),
        "limit": taken(0.05, 0.1),
    }
    got = _page.ratios(found, "ours")
    assert list(got) == ["ours", "theirs", "limit"]
    np.testing.assert_allclose(list(got.values()), [(1, 1), (4, 3), (0.1, 0.1)])


def test_section_is_a_table_with_limits_and_the_missing_named(work):
    found = {
        "ours": taken(0.5, 1.0, 12.3),
        "theirs": taken(2.0, 3.0, math.nan, off=2e-5, rounds=1),
        "other": work.peers["other"],
        "copy": taken(0.05, 0.1),
    }
    text = _page.section("counting", work, found)
    assert text.startswith("### Counting\n\n3 sheep; one round.")
    head, *rows = cells(text)
    assert head == list(_page.HEAD)
    assert {len(row) for row in rows} == {len(head)}
    assert rows[0] == ["ours", "0.500", "1.00", "1.00", "1.00", "12", "-"]
    assert rows[1] == ["theirs", "2.00", "4.00", "3.00", "3.00", "-", "2e-05"]
    assert rows[2] == ["other: not installed", *["-"] * 6]
    assert rows[3][:3] == ["*limit: copy*", "0.0500", "0.100"]
    assert _page.absent({"counting": found}) == ["- other (counting): not installed"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123456, "0.0123"), (1.0, "1.00"), (123.4, "123"), (0, "0"), (math.nan, "-")],
)
def test_numbers_have_three_digits(value, text):
    assert _page.number(value) == text


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_exponent_is_the_slope(power):
    assert exponent((1, 4, 16), [3.0 * s**power for s in (1, 4, 16)]) == pytest.approx(power)


def test_exponent_is_missing_where_a_cost_is():
    assert math.isnan(exponent((1, 4), (1.0, math.nan)))


def test_growth_marks_what_is_more_than_asked():
    each = tuple(taken(s, s**2, 5.0) for s in (1.0, 4.0, 16.0))
    one = Growth(stage="s", base="b", sizes=(1, 4, 16), taken=each, clock=1, processors=2, peak=0)
    row = cells(_page.growth_table([one]))[1]
    assert row == ["s: b", "1.00, 4.00, 16.0", "1.00", "1.00", "2.00 > asked", "5, 5, 5", "0.00"]


def test_all_run_in_turn_and_results_are_compared(work):
    order = []
    runs = {
        name: (lambda name=name, run=run: (order.append(name), run())[1])
        for name, run in {**work.ours, **work.peers, **work.limits}.items()
        if not isinstance(run, Missing)
    }
    runs["other"] = work.peers["other"]
    found = take_turns(runs, work, rounds=2, budget=60)
    assert order == ["ours", "theirs", "copy"] * 3  # once for the memory
    assert list(found) == list(runs)
    assert found["theirs"].off == 1.0
    assert math.isnan(found["copy"].off)
    assert found["ours"].rounds == 2


def test_no_round_begins_after_the_budget(work):
    slow = {"ours": lambda: time.sleep(0.02)}
    assert take_turns(slow, work, rounds=50, budget=0.01)["ours"].rounds < 5


def test_a_peer_that_fails_is_told_and_ours_is_not_forgiven(work):
    def fails():
        raise ValueError("no such\ngrid")

    found = take_turns({"ours": work.ours["ours"], "theirs": fails}, work, rounds=1, budget=1)
    assert found["theirs"].why == "fails: ValueError: no such grid"
    with pytest.raises(ValueError, match="no such"):
        take_turns({"ours": fails}, work, rounds=1, budget=1)


@LINUX
def test_peak_is_of_one_run_and_not_of_those_before():
    def allocate(megabytes):
        return lambda: float(np.ones(int(megabytes * 1e6 / 8)).sum())

    assert peak_of(allocate(200))[1] == pytest.approx(200, rel=0.1)
    result, peak = peak_of(allocate(40))
    assert result == 5e6
    assert peak == pytest.approx(40, rel=0.25)


@LINUX
def test_memory_of_a_process_outside_is_its_own():
    code = "b = bytearray(150_000_000)"
    assert peak_of(Outside([sys.executable, "-c", code]))[1] > 150
    with pytest.raises(RuntimeError, match="cannot do"):
        Outside([sys.executable, "-c", "raise SystemExit('cannot do')"])()


def test_a_peer_that_is_not_installed_is_missing():
    assert peer(lambda: len, "no_such_module_anywhere").why == "not installed"
    assert peer(lambda: len, "json") is len


def test_limits_do_what_they_say():
    array = np.arange(10_001.0)
    copy_of(array, array[:3])()
    read_of(array)()
    for operations in (1.0, 1e6, 3e9):
        products_of(operations)()


def test_furthest():
    one = np.array([1.0, np.nan, 2.0])
    assert furthest(one, one) == 0
    assert furthest(one, np.array([1.0, np.nan, 2.2])) == pytest.approx(0.1)
    assert furthest(one, np.array([1.0, 5.0, 2.0])) == math.inf
    assert furthest(one, one[:2]) == math.inf


def test_growth_of_a_proportional_job():
    def make(scale):
        array = np.ones(int(scale * 4e6))
        return Work(size=f"{array.size}", ours={"double": lambda: array * 2})

    found = grow(Stage(name="double", make=make), base=1.0, sizes=(1, 4), rounds=3, budget=5)
    assert found.base == "4000000"
    assert len(found.taken) == 2
    if not math.isnan(found.peak):
        assert found.peak == pytest.approx(1.0, abs=0.1)


def test_every_stage_has_a_name_of_its_own_and_the_asked_ones_grow():
    found = compare.stages()
    names = [stage.name for stage in found]
    assert len(set(names)) == len(names)
    asked = "standardize reduce regrid adjust features windows predict diagnostics write"
    growing = {re.split(r"[ ,]", s.name)[0] for s in found if s.growth is not None}
    assert set(asked.split()) <= growing
    assert [s.name for s in compare.stages(["regrid"])] == [
        "regrid, conservative",
        "regrid, bilinear",
    ]
    with pytest.raises(SystemExit, match="no stage begins with"):
        compare.stages(["knitting"])


@pytest.mark.parametrize(
    "stage", [s for s in compare.stages() if not s.name.startswith(SLOW)], ids=lambda s: s.name
)
def test_tiny_stage_runs_and_has_a_limit(stage):
    work = stage.make(stage.tiny)
    assert work.size
    assert work.limits
    assert work.peers
    for run in (*work.ours.values(), *work.limits.values()):
        run()


@pytest.mark.parametrize("name", ["reduce, memory", "regrid, conservative", "diagnostics, active"])
def test_peers_give_the_same(name):
    (stage,) = compare.stages([name])
    work = stage.make(stage.tiny)
    found = take_turns({**work.ours, **work.peers}, work, rounds=1, budget=0)
    offs = {n: t.off for n, t in found.items() if isinstance(t, Taken) and n != work.first}
    offs.pop("flox, cell centres", None)  # takes whole cells
    assert offs
    assert max(offs.values()) < 1e-4


def test_measure_makes_a_page(monkeypatch, tmp_path, capsys):
    def make(scale):
        array = np.ones(int(scale * 1000))
        return Work(
            size="ones",
            ours={"numpy": lambda: array.sum()},
            peers={"gone": Missing(why="not installed")},
            limits={"copy": copy_of(array)},
        )

    monkeypatch.setattr(compare, "stages", lambda names: [Stage(name="s", make=make, growth=1.0)])
    target = tmp_path / "page.md"
    target.write_text("old")
    compare.main(["--quick", "--write", str(target)])
    text = target.read_text()
    assert text.startswith("# Performance\n")
    assert "python -m benchmarks.compare --quick --write" in text
    assert "- gone (s): not installed" in text
    assert len(cells(text.split("## Growth")[0])) == 4
    assert "### S" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["page.md"]
    with pytest.raises(SystemExit):
        compare.main(["--only", "s", "--write", str(target)])


def test_page_of_the_docs_is_whole():
    text = (ROOT / "docs" / "performance.md").read_text()
    for stage in compare.stages():
        assert f"### {_page.title(stage.name)}\n" in text, (
            f"regenerate docs/performance.md: {stage}"
        )
        if stage.growth is not None:
            assert f"| {stage.name}: " in text


def test_asv_finds_the_benchmarks():
    conf = json.loads((ROOT / "benchmarks" / "asv.conf.json").read_text())
    assert (ROOT / "benchmarks" / conf["repo"]).resolve() == ROOT
    assert (ROOT / "benchmarks" / conf["benchmark_dir"]).resolve() == ROOT / "benchmarks"
    ours = bench_asv.Ours()
    assert list(ours.params) == [s.name for s in compare.stages()]
    ours.setup("regrid, bilinear")
    ours.time_stage("regrid, bilinear")
    ours.peakmem_stage("regrid, bilinear")


def test_measure_warms_up_at_the_tiny_size():
    seen = []
    stage = Stage(
        name="s",
        tiny=0.5,
        make=lambda scale: (seen.append(scale), Work(size="", ours={"a": lambda: None}))[1],
    )
    measure(stage, scale=2.0, rounds=1, budget=1)
    assert seen == [0.5, 2.0]
