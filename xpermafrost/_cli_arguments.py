"""The arguments of the command line, and the examples that ``--help`` shows."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import __version__

Command = Callable[[argparse.Namespace], int]

#: Suffixes of files with outlines or points.
VECTOR = (".gpkg", ".geojson")


def make_parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser; each command finds itself under ``run`` and its own parser under ``usage``."""
    parser = argparse.ArgumentParser(
        prog="xpermafrost",
        description="Soil temperature and permafrost from reanalysis and climate-model files.",
        epilog=_EXAMPLES["all"],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"xpermafrost {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=_EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--debug", action="store_true", help="show tracebacks and all warnings")
        sub.set_defaults(run=commands[name], usage=sub)
        return sub

    demo = command("demo", "train, score and project on the simulated sample, offline")
    demo.add_argument("--model", default="gru", help="network, or column+NETWORK (default: gru)")
    _add_training(demo, members=1)
    _add_output(demo, "NetCDF, .gpkg or .geojson; nothing is written without it")

    sub = command("identify", "say what each variable of files is, and what is wrong")
    _add_files(sub)
    sub = command("standardize", "bring files to canonical names, units and months")
    _add_files(sub)
    sub.add_argument("--step", choices=("month", "day"), default="month", help="of the result")
    _add_output(sub, "NetCDF file", required=True, suffixes=(".nc",))

    sub = command("project", "soil temperature under scenarios, from files")
    _add_experiment(sub, scenarios_needed=True)
    sub.add_argument(
        "--model",
        default="gru",
        help="network, column+NETWORK or baseline, which is fitted; or a saved FILE.xpm",
    )
    _add_choice(sub)
    sub.add_argument("--train", nargs="+", metavar="YEAR", help="first and last year, or all")
    _add_training(sub)
    sub.add_argument("--seed", type=_natural, help="of training")
    _add_output(sub, "NetCDF, .gpkg, .geojson; a folder takes GeoTIFFs", required=True)

    sub = command("evaluate", "score networks beside every baseline, from files")
    _add_experiment(sub, scenarios_needed=False)
    sub.add_argument("--models", nargs="+", metavar="NAME", help="as --model of project")
    sub.add_argument("--protocol", default="default", help="default, rahaman, perfect-model")
    sub.add_argument("--changes", nargs="+", metavar="SCENARIO", help="whose change is shown")
    _add_scoring(sub)
    _add_training(sub)
    sub.add_argument("--seed", type=_natural, help="of training and resampling")
    _add_output(sub, "scores, .nc or .csv", suffixes=(".nc", ".csv"))

    sub = command("report", "one HTML file of data, scores, projections and caveats, from files")
    _add_experiment(sub, scenarios_needed=True)
    sub.add_argument(
        "--models",
        nargs="+",
        default=["gru"],
        metavar="NAME",
        help="networks, column+NETWORK, which are fitted; or saved FILE.xpm (default: gru)",
    )
    _add_choice(sub)
    sub.add_argument("--title", help="by default that of the reference")
    sub.add_argument("--no-explain", action="store_true", help="without attributions: quicker")
    _add_scoring(sub)
    _add_training(sub)
    sub.add_argument("--seed", type=_natural, help="of training and resampling")
    _add_output(sub, "HTML file", required=True, suffixes=(".html", ".htm"))
    return parser


def _add_choice(sub: argparse.ArgumentParser) -> None:
    for name, example in (("rcp", "8.5"), ("ssp", "126"), ("scenario", "rcp85")):
        sub.add_argument(f"--{name}", nargs="+", metavar="NAME", help=f"such as {example}, or all")
    sub.add_argument("--adjust", default="qdm", metavar="METHOD", help="bias adjustment: qdm, ...")


def _add_scoring(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--baselines", nargs="*", metavar="NAME", help="by default all of them")
    sub.add_argument("--train", nargs="+", metavar="YEAR", help="first and last year")
    sub.add_argument("--test", nargs="+", metavar="YEAR", help="first and last year")
    sub.add_argument("--bootstrap", type=_natural, default=500, help="resamples; 0: no intervals")


def _add_files(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("files", nargs="+", metavar="FILE", help="files, patterns or a folder")
    sub.add_argument("--source", help="such as era5-land, where names leave it open")


def _add_experiment(sub: argparse.ArgumentParser, *, scenarios_needed: bool) -> None:
    add = sub.add_argument
    add("--reference", nargs="+", metavar="FILE", required=True, help="reanalysis or stations")
    add("--source", help="of the reference, where names leave it open")
    add(
        "--scenarios",
        nargs="+",
        metavar="FILE",
        required=scenarios_needed,
        help="CMIP files, or others as NAME=FILE",
    )
    add("--esm", help="climate model, if the CMIP files are of several")
    add("--regions", help="alaska-bands, or a file of polygons; by default the grid as it is")
    add("--region-names", metavar="COLUMN", help="of the file of polygons")


def _add_training(sub: argparse.ArgumentParser, *, members: int | None = None) -> None:
    sub.add_argument("--members", type=_count, default=members, help="networks to average")
    sub.add_argument("--epochs", type=_count, help="train from scratch, for so many epochs")


def _add_output(
    sub: argparse.ArgumentParser,
    text: str,
    *,
    required: bool = False,
    suffixes: Sequence[str] = (".nc", *VECTOR),
) -> None:
    def target(name: str) -> Path:
        path = Path(name)
        if path.suffix not in suffixes and not (VECTOR[0] in suffixes and path.is_dir()):
            raise argparse.ArgumentTypeError(f"{name!r} ends in none of {', '.join(suffixes)}")
        return path

    sub.add_argument("-o", "--output", type=target, required=required, help=text)
    sub.add_argument("--overwrite", action="store_true", help="replace existing files")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number, not {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return int(text)


_EXAMPLES = {
    "all": """examples:
  xpermafrost demo
  xpermafrost identify era5land_*.nc
  xpermafrost project --help

exit codes: 0 fine, 1 the data or the request are refused, 2 wrong usage""",
    "demo": """examples:
  xpermafrost demo
  xpermafrost demo --model column+gru --members 2 -o simulated.nc""",
    "identify": """examples:
  xpermafrost identify era5land_monthly.nc
  xpermafrost identify snow_*.nc --source era5-land

The exit code is 1 if a variable has a problem, or none is recognised.""",
    "standardize": """examples:
  xpermafrost standardize era5land_*.nc -o canonical.nc
  xpermafrost standardize hourly/*.grib --source era5-land --step day -o days.nc""",
    "project": """examples:
  xpermafrost project --reference era5land_*.nc --scenarios cmip6/*.nc \\
      --regions alaska-bands --ssp 126 585 --members 5 -o projection.nc
  xpermafrost project --reference era5land_*.nc --scenarios historical=h.nc rcp85=r.nc \\
      --regions boroughs.geojson --model gru.xpm -o boroughs.gpkg""",
    "evaluate": """examples:
  xpermafrost evaluate --reference era5land_*.nc --regions alaska-bands --models gru column+gru
  xpermafrost evaluate --reference era5land_*.nc --scenarios cmip6/*.nc \\
      --regions alaska-bands --models gru --changes ssp585 -o scores.csv""",
    "report": """examples:
  xpermafrost report --reference era5land_*.nc --scenarios cmip6/*.nc \\
      --regions alaska-bands --models gru column+gru --members 5 -o report.html
  xpermafrost report --reference era5land_*.nc --scenarios historical=h.nc rcp85=r.nc \\
      --regions boroughs.geojson --models gru.xpm --no-explain -o boroughs.html

A network is trained without the last fifth of the years, which it is scored on.""",
}
