"""Tables: Earth Engine exports, long tables, boreholes, column maps, complete means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpermafrost.errors import (
    DataError,
    PermafrostWarning,
    SourceError,
    TimeAxisError,
    UnitsError,
    UnknownNameError,
)
from xpermafrost.schema import layer_bounds
from xpermafrost.sources import _averages
from xpermafrost.sources._open import open_dataset, open_raw


def table(path, text):
    path.write_text(text)
    return path


@pytest.fixture
def csv(tmp_path):
    return lambda text: table(tmp_path / "table.csv", text)


def monthly(names=("A", "B"), months=14, header="date,site,T,P"):
    """Two sites, months in turn; temperature tells site and month."""
    rows = [header]
    for k, month in enumerate(pd.date_range("2001-01-01", periods=months, freq="MS")):
        for i, name in enumerate(names):
            rows.append(f"{month:%Y-%m-%d},{name},{-20 + 10 * i + k},{20 + k}")
    return "\n".join(rows)


MAP = {"tas": ("T", "degC"), "pr": ("P", "mm month-1")}


def test_column_map(csv):
    out = open_dataset(csv(monthly()), columns=MAP)
    assert set(out.data_vars) == {"tas", "pr"}
    assert out["tas"].dims == ("station", "time")
    assert out["station"].values.tolist() == ["A", "B"]
    np.testing.assert_allclose(out["tas"].sel(station="B"), 273.15 - 10 + np.arange(14))
    days = out["time"].dt.days_in_month
    np.testing.assert_allclose((out["pr"] * days * 86400).sel(station="A"), 20 + np.arange(14))


def test_the_argument_is_not_written_to(csv):
    columns = {**MAP, "tsl": {0.2: ("T", "degC")}}
    before = {**columns, "tsl": dict(columns["tsl"])}
    open_dataset(csv(monthly()), columns=columns)
    assert columns == before


def test_columns_that_are_not_named_are_left_out(csv):
    assert list(open_dataset(csv(monthly()), columns={"tas": ("T", "degC")}).data_vars) == ["tas"]


def test_order_of_places_is_that_of_the_table(csv):
    out = open_dataset(csv(monthly(("north", "middle", "south"))), columns=MAP)
    assert out["station"].values.tolist() == ["north", "middle", "south"]


def test_columns_of_time_and_place(csv):
    text = monthly(header="Datum,Ort,T,P")
    out = open_dataset(csv(text), columns={**MAP, "time": "Datum", "station": "Ort"})
    assert out["station"].values.tolist() == ["A", "B"]
    out = open_dataset(csv(text), columns={**MAP, "time": "Datum", "band": "Ort"})
    assert out["tas"].dims == ("band", "time")


def test_layers_and_sensors(csv):
    text = "date,t5,t20,w\n2001-01-01,-3,-2,0.3\n2001-02-01,-4,-3,0.2\n"
    out = open_dataset(
        csv(text),
        columns={
            "tsl": {0.2: ("t20", "degC"), (0.0, 0.07): ("t5", "degC")},
            "mrsol": {(0, 0.07): ("w", "m3 m-3")},
        },
    )
    assert out["tsl"].dims == ("station", "layer", "time")
    np.testing.assert_allclose(layer_bounds(out), [[0.0, 0.07], [0.2, 0.2]])
    np.testing.assert_allclose(out["tsl"].values[0] - 273.15, [[-3, -4], [-2, -3]])
    # volume fraction x 1000 kg m-3 x 0.07 m; no water is known at the sensor
    np.testing.assert_allclose(out["mrsol"].values[0, 0], [21.0, 14.0])
    assert np.isnan(out["mrsol"].values[0, 1]).all()


def test_static_columns(csv):
    text = "date,site,T,z\n2001-01,A,1,100\n2001-02,A,2,100\n2001-01,B,1,300\n2001-02,B,2,300\n"
    columns = {"tas": ("T", "degC"), "elevation": ("z", "m")}
    out = open_dataset(csv(text), columns=columns)
    assert out["elevation"].dims == ("station",)
    assert out["elevation"].values.tolist() == [100.0, 300.0]
    with pytest.raises(SourceError, match="several values of 'elevation' for one station"):
        open_dataset(csv(text.replace("2,300", "2,301")), columns=columns)


WRONG_MAPS = {
    "unknown name": ({"tass": ("T", "K")}, UnknownNameError, "columns= 'tass'; did you mean 'tas'"),
    "unknown column": ({"tas": ("TT", "K")}, UnknownNameError, "'TT'; did you mean 'T'.*'site'"),
    "unknown place": ({**MAP, "station": "sit"}, UnknownNameError, "'sit'; did you mean 'site'"),
    "no units": ({"tas": "T"}, SourceError, r"as in \('column', 'K'\).* never guessed"),
    "no quantity": ({"time": "date"}, SourceError, "names no variable"),
    "units of another": ({"tas": ("T", "m")}, UnitsError, "'m' does not measure the same as 'K'"),
    "depth without period": ({"pr": ("P", "mm")}, UnitsError, "needs its period: 'mm month-1'"),
    "no depth": ({"tsl": ("T", "K")}, SourceError, r"by depth or \(top, bottom\) in m"),
    "depth of the air": ({"tas": {2.0: ("T", "K")}}, SourceError, r"is \('column', 'units'\)"),
    "depth up": ({"tsl": {-0.2: ("T", "K")}}, SourceError, "positive down, top first"),
    "layer upside down": ({"tsl": {(1, 0): ("T", "K")}}, SourceError, "top first.*\\(1, 0\\)"),
    "depth in words": ({"tsl": {"20cm": ("T", "K")}}, SourceError, "a number or .*'20cm'"),
    "water at a point": ({"mrsol": {0.1: ("P", "m3 m-3")}}, UnitsError, "top and bottom"),
    "place with units": ({**MAP, "lat": ("T", "deg")}, SourceError, "is the name of a column"),
    "mixed units": (
        {"tsl": {0.1: ("T", "degC"), 0.2: ("P", "K")}},
        SourceError,
        "mixes 'degC' and 'K'",
    ),
}


@pytest.mark.parametrize("kind", list(WRONG_MAPS))
def test_wrong_maps(csv, kind):
    columns, error, message = WRONG_MAPS[kind]
    with pytest.raises(error, match=message):
        open_dataset(csv(monthly()), columns=columns)


def test_a_table_says_its_units_or_is_refused(csv):
    text = monthly(header="date,site,Tair,Precip")
    with pytest.raises(SourceError, match=r"\['Tair', 'Precip'\].*columns=\{'tas': \('<column>'"):
        open_dataset(csv(text))
    raw = open_raw(csv(text))
    assert set(raw.data_vars) == {"Tair", "Precip"}
    assert "units" not in raw["Tair"].attrs


def test_stations_vouch_for_no_units(csv):
    with pytest.raises(SourceError, match="does not say the units"):
        open_dataset(csv(monthly(header="date,site,tas,pr")), source="stations")


def test_known_names_without_units(csv):
    text = monthly(header="date,site,temperature_2m,total_precipitation_sum")
    with pytest.raises(SourceError, match=r"columns=\{'tas': \('temperature_2m', '<units>'\)"):
        open_dataset(csv(text))


def test_units_in_the_header(csv):
    out = open_dataset(csv(monthly(header="date,site,tas [degC],pr (mm month-1)")))
    np.testing.assert_allclose(out["tas"][0, :2] - 273.15, [-20, -19])
    assert out["pr"].attrs["units"] == "kg m-2 s-1"


# dates


DATES = {
    "iso": ("date", ["2001-01-01", "2001-02-01"]),
    "iso with time": ("time", ["2001-01-01T00:00:00Z", "2001-02-01T00:00:00Z"]),
    "year and month": ("Date", ["2001-01", "2001-02"]),
    "milliseconds": ("system:time_start", ["978307200000", "980985600000"]),
    "number of day": ("date", ["20010101", "20010201"]),
    "number of month": ("date", ["200101", "200102"]),
    "american words": ("date", ['"Jan 1, 2001"', '"Feb 1, 2001"']),
    "image index": ("system:index", ["200101_0000a", "200102_0000a"]),
    "image index of days": ("system:index", ["20010101", "20010201"]),
}


@pytest.mark.parametrize("kind", list(DATES))
def test_dates(csv, kind):
    name, (first, second) = DATES[kind]
    out = open_dataset(csv(f"{name},tas [K]\n{first},270\n{second},271\n"))
    assert out["time"].dt.strftime("%Y-%m").values.tolist() == ["2001-01", "2001-02"]


def test_year_and_month_columns(csv):
    out = open_dataset(csv("year,month,tas [K]\n2001,1,270\n2001,2,271\n"))
    assert out["time"].dt.month.values.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when,tas [K]\n2001-01,270\n", r"no column of dates.*'when'"),
        ("date,tas [K]\n01/02/2001,270\n", "two meanings"),
        ("date,tas [K]\n2001-13-01,270\n", "no dates that can be read"),
        ("date,tas [K]\n2001-01,270\n,271\n", "no date in row 3"),
        ("date,tas [K]\n2001-01,270\n2001-01,271\n", "two rows for station 'table' at 2001-01"),
    ],
)
def test_bad_dates(csv, text, message):
    with pytest.raises(TimeAxisError, match=message):
        open_dataset(csv(text))


def test_months_without_a_row_are_missing(csv):
    out = open_dataset(csv("date,tas [K]\n2001-01,270\n2001-04,271\n"))
    np.testing.assert_array_equal(out["tas"][0], [270, np.nan, np.nan, 271])


# places


def test_places_by_latitude_and_longitude(csv):
    text = "Latitude,Longitude,time,tas [K]\n" + "".join(
        f"{lat},{lon},2001-0{m},27{m}\n"
        for lat, lon in ((65.5, -150.25), (62, 129))
        for m in (1, 2)
    )
    out = open_dataset(csv(text))
    assert out["station"].values.tolist() == ["65.5N 150.25W", "62N 129E"]
    assert out["lat"].values.tolist() == [65.5, 62.0]
    assert out["lon"].dims == ("station",)


def test_one_name_for_two_places(csv):
    text = "site,lat,lon,time,tas [K]\nA,65,10,2001-01,270\nA,66,10,2001-02,270\n"
    with pytest.raises(SourceError, match="several values of 'lat' for one station"):
        open_dataset(csv(text))


def test_a_table_of_one_place_is_named_after_its_file(tmp_path):
    out = open_dataset(table(tmp_path / "poker.csv", "date,tas [K]\n2001-01,270\n2001-02,271\n"))
    assert out["station"].values.tolist() == ["poker"]


POINT = '"{""type"":""Point"",""coordinates"":[-150.5,65.25]}"'
SQUARE = '"{""type"":""Polygon"",""coordinates"":[[[10,60],[12,60],[12,64],[10,64],[10,60]]]}"'
EMPTY = '"{""type"":""MultiPoint"",""coordinates"":[]}"'


def export(*geometries, header="system:index,date,name,temperature_2m,.geo"):
    rows = [header]
    for month in (1, 2):
        for i, geometry in enumerate(geometries):
            rows.append(f"0_{i},2001-0{month}-01,P{i},{270 + i + month},{geometry}")
    return "\n".join(rows)


def test_earth_engine_export(csv):
    with pytest.raises(SourceError, match="source='earthengine' vouches for the units"):
        open_dataset(csv(export(POINT, SQUARE)))
    out = open_dataset(csv(export(POINT, SQUARE)), source="earthengine")
    assert set(out.data_vars) == {"tas"}
    assert out["station"].values.tolist() == ["P0", "P1"]
    np.testing.assert_allclose(out["lon"], [-150.5, 11])
    np.testing.assert_allclose(out["lat"], [65.25, 62])
    np.testing.assert_allclose(out["tas"], [[271, 272], [272, 273]])


def test_earth_engine_export_without_geometry(csv):
    out = open_dataset(csv(export(EMPTY)), source="earthengine")
    assert "lat" not in out.coords


def test_earth_engine_totals_of_the_month(csv):
    text = "date,region,total_precipitation_sum\n2001-01-01,a,0.031\n2001-02-01,a,0.028\n"
    out = open_dataset(csv(text), source="earthengine")
    np.testing.assert_allclose(out["pr"] * 86400, [[1.0, 1.0]])
    assert out["pr"].dims == ("band", "time")


def test_a_broken_geometry(csv):
    with pytest.raises(SourceError, match="no GeoJSON geometry: 'somewhere'"):
        open_dataset(csv(export("somewhere")), source="earthengine")


# text formats


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(csv, delimiter):
    text = monthly().replace(",", delimiter)
    assert open_dataset(csv(text), columns=MAP).sizes == {"station": 2, "time": 14}


def test_decimal_commas_comments_and_a_byte_order_mark(tmp_path):
    text = "\ufeff# from the logger\ndate;T\n2001-01-01;-20,5\n2001-02-01;-18\n"
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    out = open_dataset(path, columns={"tas": ("T", "degC")})
    np.testing.assert_allclose(out["tas"][0] - 273.15, [-20.5, -18])


def test_text_among_numbers(csv):
    text = monthly().replace("-19,21", "broken,21")
    with pytest.raises(SourceError, match=r"'T' holds text .*'broken' \(row 4 of"):
        open_dataset(csv(text), columns=MAP)


def test_rows_of_other_lengths(csv):
    with pytest.raises(DataError, match="cannot be parsed"):
        open_dataset(csv("date,T\n2001-01,1\n2001-02,2,3,4\n"), columns={"tas": ("T", "K")})


def test_chunks(csv):
    out = open_dataset(csv(monthly()), columns=MAP, chunks={"time": 7})
    assert out["tas"].chunks is not None
    xr.testing.assert_allclose(out.compute(), open_dataset(csv(monthly()), columns=MAP))


# boreholes


LONG = "id,date,depth,temperature,flag,dataset_id,borehole_id,site_id\n"


def gtnp(days=59, *, flags=None, skip=(), dataset=7):
    rows = []
    for k, day in enumerate(pd.date_range("2001-01-01", periods=days, freq="D")):
        if k in skip:
            continue
        for depth in (0.5, 2.0):
            flag = (flags or {}).get(k, "")
            rows.append(f"1,{day:%Y-%m-%d},{depth},{-depth - day.month},{flag},{dataset},8,9")
    return LONG + "\n".join(rows) + "\n"


def test_gtnp_long(csv):
    out = open_dataset(csv(gtnp()))
    assert out["tsl"].dims == ("station", "layer", "time")
    assert out["station"].values.tolist() == ["7"]
    assert (out["borehole_id"].item(), out["site_id"].item()) == (8, 9)
    np.testing.assert_allclose(layer_bounds(out), [[0.5, 0.5], [2.0, 2.0]])
    np.testing.assert_allclose(out["tsl"][0] - 273.15, [[-1.5, -2.5], [-3, -4]])
    xr.testing.assert_equal(open_dataset(csv(gtnp()), source="stations"), out)
    lazy = open_dataset(csv(gtnp()), chunks={})
    assert lazy["tsl"].chunks is not None
    xr.testing.assert_allclose(lazy.compute(), out)


def test_gtnp_daily(csv):
    out = open_dataset(csv(gtnp(skip=(3,))), step="day")
    assert out.sizes["time"] == 59
    assert np.isnan(out["tsl"].values[0, :, 3]).all()
    assert np.isfinite(np.delete(out["tsl"].values, 3, axis=-1)).all()


def test_gtnp_flags(csv):
    path = csv(gtnp(flags={0: "outlier", 1: "outlier"}))
    with pytest.warns(PermafrostWarning, match=r"4 of 118 readings carry a flag \(\['outlier'\]\)"):
        raw = open_raw(path)
    assert np.isnan(raw["tsl"].values[0, :, :2]).all()
    assert np.isfinite(raw["tsl"].values[0, :, 2:]).all()


def test_gtnp_two_data_sets(csv):
    text = gtnp() + gtnp(dataset=70).removeprefix(LONG).replace(",0.5,", ",1.0,")
    out = open_dataset(csv(text))
    assert out["station"].values.tolist() == ["7", "70"]
    assert out["depth"].values.tolist() == [0.5, 1.0, 2.0]
    assert np.isnan(out["tsl"].sel(station="7").isel(layer=1)).all()


def test_gtnp_hourly_layout(csv):
    hours = pd.date_range("2001-01-01", periods=24 * 31, freq="h")
    rows = [f"1,{hour:%Y-%m-%d %H:%M:%S},0.5,{-hour.hour},,7,8,9" for hour in hours]
    text = LONG.replace("date", "utc_time", 1) + "\n".join(rows)
    np.testing.assert_allclose(open_dataset(csv(text))["tsl"][0, 0] - 273.15, [-11.5])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t + t.splitlines()[1] + "\n", TimeAxisError, "two readings of dataset 7 at 0.5"),
        (lambda t: t.replace(",0.5,", ",-0.5,"), DataError, "depth of -0.5"),
        (lambda t: t.replace("2001-01-02", "2.1.2001"), TimeAxisError, "'date' .* no ISO dates"),
    ],
)
def test_gtnp_faults(csv, change, error, message):
    with pytest.raises(error, match=message):
        open_dataset(csv(change(gtnp())))


def legacy(values, depths=("0", "0.5"), start="2001-01-01", freq="h"):
    stamps = pd.date_range(start, periods=len(values), freq=freq)
    rows = [f"{t:%Y-%m-%d %H:%M:%S}," + ",".join(f"{v:g}" for v in row)
            for t, row in zip(stamps, values, strict=True)]  # fmt: skip
    return "\n".join([",".join(["Date/Depth", *depths]), *rows])


def test_gtnp_legacy(tmp_path):
    values = np.tile(np.arange(24.0), 31)[:, None] * [1, 0] + [0, -5]
    values[10] = -999
    out = open_dataset(table(tmp_path / "village.csv", legacy(values)))
    assert out["station"].values.tolist() == ["village"]
    assert out["depth"].values.tolist() == [0.0, 0.5]
    expected = (11.5 * 30 + np.delete(np.arange(24), 10).mean()) / 31
    np.testing.assert_allclose(out["tsl"][0, :, 0] - 273.15, [expected, -5])


def test_gtnp_legacy_depths_in_any_order_and_words(csv):
    out = open_dataset(csv(legacy(np.ones((24 * 31, 2)) * [2, 1], depths=("1", "0.5"))))
    np.testing.assert_allclose(out["tsl"][0, :, 0] - 273.15, [1, 2])
    with pytest.raises(SourceError, match="no depth in m"):
        open_dataset(csv(legacy(np.ones((3, 2)), depths=("1", "note"))))


# completeness


def station_means(ds, **options):
    return _averages.station_means(ds, {name: name for name in ds.data_vars}, **options)


def readings(values, freq="D", start="2001-01-01", name="tas"):
    time = pd.date_range(start, periods=len(values), freq=freq)
    return xr.Dataset({name: (("station", "time"), [values])}, {"station": ["a"], "time": time})


def month_of(days_missing, *, days=31, complete="wmo", name="tas"):
    """Whether a month has a mean; a full month follows it."""
    values = np.arange(1.0, days + 1)
    values[list(days_missing)] = np.nan
    ds = readings(np.concatenate([values, np.ones(28)]), name=name)
    out = station_means(ds, step="month", complete=complete)
    assert out[name].values[0, 1] == 1
    found, values = out[name].values[0, 0], values[:days]
    if not np.isnan(found):
        assert found == pytest.approx(np.nanmean(values))
    return not np.isnan(found)


def test_wmo_rule_for_means():
    scattered = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert month_of([])
    assert month_of(scattered[:10])
    assert not month_of(scattered[:11])
    assert month_of(range(4))
    assert not month_of(range(5))
    assert not month_of(range(26, 31))
    assert month_of([0, 1, 2, 3, 5, 6, 7, 8])


def test_wmo_rule_for_sums():
    assert month_of([], name="pr")
    assert not month_of([3], name="pr")
    assert month_of([3], name="pr", complete=0.9)


@pytest.mark.parametrize(("share", "enough"), [(0.5, 16), (0.8, 25), (1.0, 31), (0.01, 1)])
def test_share_of_the_days(share, enough):
    assert month_of(range(31 - enough), complete=share)
    if enough > 1:
        assert not month_of(range(31 - enough + 1), complete=share)


def test_months_cut_by_the_ends_of_the_record_are_incomplete():
    out = station_means(readings(np.ones(40), start="2001-01-20"), step="month", complete="wmo")
    assert np.isnan(out["tas"].values[0]).tolist() == [True, False]
    assert "tas 1" in out.attrs["history"]


def test_a_gap_across_the_turn_of_the_month_counts_in_each():
    values = np.ones(59)
    values[28:34] = np.nan  # 3 days of January, 3 of February
    out = station_means(readings(values), step="month", complete="wmo")
    assert np.isfinite(out["tas"]).all()


def test_days_need_three_quarters():
    hourly = np.tile(np.arange(24.0), 4)
    hourly[24 + 6 : 48] = np.nan  # one quarter of the second day
    hourly[48 + 18 : 72] = np.nan  # three of the third
    out = station_means(readings(hourly, freq="h"), step="day", complete="wmo")
    np.testing.assert_allclose(out["tas"][0], [11.5, np.nan, 8.5, 11.5])


@pytest.mark.parametrize("freq", ["h", "20min", "6h", "8h", "12h", "D"])
def test_means_at_any_spacing(freq):
    time = pd.date_range("2001-01-01", "2001-03-01", freq=freq, inclusive="left")
    ds = readings(np.asarray(time.month, dtype=float), freq=freq)
    out = station_means(ds, step="month", complete="wmo")
    np.testing.assert_allclose(out["tas"][0], [1, 2])


def test_order_and_doubled_stamps_do_not_matter():
    ds = readings(np.tile(np.arange(24.0), 31), freq="h")
    shuffled = ds.isel(time=np.random.default_rng(0).permutation(ds.sizes["time"]))
    doubled = xr.concat([shuffled, ds.isel(time=slice(0, 24))], "time")
    for other in (shuffled, doubled):
        out = station_means(other, step="month", complete="wmo")
        np.testing.assert_allclose(out["tas"], 11.5)


def test_stations_are_averaged_apart():
    ds = readings(np.ones(31))
    two = xr.concat([ds, ds.where(False)], xr.DataArray(["a", "b"], dims="station", name="station"))
    out = station_means(two, step="month", complete="wmo")
    assert out["tas"].values[0, 0] == 1
    assert np.isnan(out["tas"].values[1, 0])


def test_visits_once_a_month_are_not_monthly_means():
    time = pd.to_datetime(["2001-01-03", "2001-02-20", "2001-03-11"])
    visits = readings(np.ones(3)).assign_coords(time=time)
    with pytest.warns(PermafrostWarning, match="enough readings"):
        assert np.isnan(station_means(visits, step="month", complete="wmo")["tas"]).all()
    for days in ((1, 1, 1), (16, 15, 16), (31, 28, 31)):
        time = pd.to_datetime([f"2001-0{m}-{d:02d}" for m, d in enumerate(days, start=1)])
        out = station_means(visits.assign_coords(time=time), step="month", complete="wmo")
        assert np.isfinite(out["tas"]).all()
        assert (out["time"].dt.day == 1).all()


def test_a_wrong_rule():
    with pytest.raises(DataError, match="complete is 'wmo' or a share"):
        station_means(readings(np.ones(31)), step="month", complete=1.5)


def test_the_rule_is_an_argument_of_open_dataset(csv):
    path = csv(gtnp(31, skip=range(20)))
    with pytest.warns(PermafrostWarning, match=r"no month of 'tsl' has enough .* complete=0.5"):
        assert np.isnan(open_dataset(path)["tsl"]).all()
    assert np.isfinite(open_dataset(path, complete=0.3)["tsl"]).all()


# codes for missing, columns beside


def hourly(code, *, at=100, header="date,tas [degC]"):
    stamps = pd.date_range("2001-01-01", periods=24 * 59, freq="h")
    rows = [f"{t:%Y-%m-%dT%H:%M},{code if k == at else -20.0}" for k, t in enumerate(stamps)]
    return "\n".join([header, *rows])


@pytest.mark.parametrize("code", [-99.9, -999, -9999, 6999, 9999, 32767])
def test_codes_for_missing_become_missing(csv, code):
    with pytest.warns(PermafrostWarning, match=rf"NaN: 1 of 'tas' \({code}\)"):
        out = open_dataset(csv(hourly(code)))
    np.testing.assert_allclose(out["tas"], 253.15)
    assert f"codes for missing set to NaN: 1 of 'tas' ({code})" in out.attrs["history"]


def test_codes_in_monthly_rows(csv):
    # -99.9 degC is in the range of a monthly mean
    text = monthly(names=("A",)).replace("2001-03-01,A,-18,", "2001-03-01,A,-99.9,")
    with pytest.warns(PermafrostWarning, match=r"1 of 'tas' \(-99.9\)"):
        out = open_dataset(csv(text), columns=MAP)
    assert out["tas"].isnull().values.tolist() == [[False, False, True] + [False] * 11]


def test_numbers_that_are_codes_elsewhere_are_kept(csv):
    text = monthly(names=("A",), header="date,site,hfss [W m-2],snd [cm]").replace(",-18,", ",-99,")
    out = open_dataset(csv(text))
    assert float(out["hfss"][0, 2]) == -99.0


def test_a_broken_sensor_is_not_averaged(csv):
    with pytest.raises(SourceError, match=r"253.1 to 358.1 K \(the first at 2001-01-05T04:00\)"):
        open_dataset(csv(hourly(85.0)))


def test_columns_beside_do_not_hinder_means(csv):
    header = "date,air_temperature [degC],RH [%],precipitation [mm h-1]"
    stamps = pd.date_range("2001-01-01", periods=24 * 59, freq="h")
    rows = [f"{t:%Y-%m-%dT%H:%M},-5,80,0.1" for t in stamps if t.hour != 3]
    with pytest.warns(PermafrostWarning, match=r"\['RH'\] are not recognised"):
        out = open_dataset(csv("\n".join([header, *rows])))
    np.testing.assert_allclose(out["tas"], 268.15)
    np.testing.assert_allclose(out["pr"] * 3600, 0.1)


# a file for each place


def borehole(path, depths, start, months=3, value=-1.0):
    days = pd.date_range(start, periods=months * 31, freq="D")
    rows = [",".join(["Date/Depth", *map(str, depths)])]
    rows += [",".join([f"{day:%Y-%m-%d}", *[str(value - d) for d in depths]]) for day in days]
    return table(path, "\n".join(rows))


def test_boreholes_with_other_depths_and_years(tmp_path):
    borehole(tmp_path / "Healy.csv", (0.5, 2), "2001-01-01")
    borehole(tmp_path / "Inuvik.csv", (1, 2, 0.25), "2001-03-01")
    out = open_dataset(tmp_path / "*.csv")
    assert out["station"].values.tolist() == ["Healy", "Inuvik"]
    assert layer_bounds(out)[:, 0].tolist() == [0.25, 0.5, 1.0, 2.0]
    assert out["tsl"].dims == ("station", "layer", "time")
    apart = [open_dataset(tmp_path / name) for name in ("Healy.csv", "Inuvik.csv")]
    for one in apart:
        both = out["tsl"].sel(station=one["station"]).swap_dims(layer="depth")
        own = one["tsl"].swap_dims(layer="depth")
        np.testing.assert_allclose(both.sel(depth=own["depth"], time=own["time"]), own)
    missing = out["tsl"].isnull().all("time").values.tolist()
    assert missing == [[True, False, True, False], [False, True, False, False]]
    assert out["time"].values[0] == np.datetime64("2001-01-01")
    xr.testing.assert_identical(
        open_dataset(tmp_path / "*.csv", chunks={}).compute()["tsl"], out["tsl"]
    )


def test_a_table_for_each_station_and_year(tmp_path):
    for year in (2001, 2002):
        for site, level in (("A", -5), ("Yellowknife", -9)):
            months = pd.date_range(f"{year}-01", periods=12, freq="MS")
            column = "" if site == "A" else ",pr [mm month-1]"
            rows = [f"{m:%Y-%m},{site},{level}" + (",31" if column else "") for m in months]
            header = f"date,site,tas [degC]{column}"
            table(tmp_path / f"{site}_{year}.csv", "\n".join([header, *rows]))
    out = open_dataset(tmp_path)
    assert out["station"].values.tolist() == ["A", "Yellowknife"]
    np.testing.assert_allclose(out["tas"] - 273.15, [[-5] * 24, [-9] * 24])
    assert out["pr"].isnull().all("time").values.tolist() == [True, False]


def test_stations_in_other_units_are_not_joined(tmp_path):
    for site, units in (("A", "degC"), ("B", "K")):
        table(tmp_path / f"{site}.csv", f"date,site,tas [{units}]\n2001-01,{site},250\n")
    with pytest.raises(SourceError, match=r"units 'degC' in .*A.csv' and 'K' in .*B.csv'"):
        open_dataset(tmp_path)


def test_names_of_a_file_do_not_cut_longer_ones(tmp_path):
    attrs = {"units": "K"}
    time = pd.date_range("2001-01", periods=2, freq="MS")
    short = xr.Dataset({"tas": (("station", "time"), [[260.0, 261.0]], attrs)},
                       {"station": ["A"], "time": time})  # fmt: skip
    short.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    long = open_dataset(tmp_path / "a.nc").reindex(station=["A", "Yellowknife"])
    long.to_netcdf(tmp_path / "b.nc", engine="netcdf4")
    assert open_dataset(tmp_path / "b.nc")["station"].values.tolist() == ["A", "Yellowknife"]
