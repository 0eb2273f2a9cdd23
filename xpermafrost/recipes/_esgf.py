"""CMIP5 and CMIP6 from the archives of the Earth System Grid Federation.

The search service and its answers are those of the ESGF Search REST API (esgf.github.io). An
older node (``esg-search``) takes a facet with several values as a repeated parameter; the newer
bridge (ESGF 1.5) takes them joined by commas, and keeps one of repeated parameters only.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .._checks import choose
from .._downloads import retrieve
from ..errors import DataError, PermafrostWarning, unknown_name

#: Search services by name; the first is the default.
NODES = {
    "ornl": "https://esgf-node.ornl.gov/esgf-1-5-bridge/",
    "dkrz": "https://esgf-data.dkrz.de/esg-search/search",
    "ceda": "https://esgf.ceda.ac.uk/esg-search/search",
    "ipsl": "https://esgf-node.ipsl.upmc.fr/esg-search/search",
}

#: Records asked for at a time.
PAGE = 500

#: Seconds to wait for the search service: federated searches are slow.
PATIENCE = 120.0

_ATMOSPHERE = ("tas", "ts", "pr", "prsn", "rlds", "rsds", "hfls", "hfss")
_SNOW = ("snd", "snw", "snc")
_COMMON = {
    **{name: (name, "Amon") for name in _ATMOSPHERE},
    **{name: (name, "LImon") for name in _SNOW},
    "tsl": ("tsl", "Lmon"),
    "sftlf": ("sftlf", "fx"),
    "elevation": ("orog", "fx"),
}
#: Name and table of each canonical variable, by project.
VARIABLES = {
    "CMIP6": {**_COMMON, "mrsol": ("mrsol", "Emon")},
    "CMIP5": {**_COMMON, "mrsol": ("mrlsl", "Lmon")},
}
SCENARIOS = {
    "CMIP6": (
        "historical",
        "ssp119",
        "ssp126",
        "ssp245",
        "ssp370",
        "ssp434",
        "ssp460",
        "ssp534-over",
        "ssp585",
    ),
    "CMIP5": ("historical", "rcp26", "rcp45", "rcp60", "rcp85"),
}
_FACETS = {
    "CMIP6": {
        "model": "source_id",
        "scenario": "experiment_id",
        "variable": "variable_id",
        "table": "table_id",
        "member": "variant_label",
    },
    "CMIP5": {
        "model": "model",
        "scenario": "experiment",
        "variable": "variable",
        "table": "cmor_table",
        "member": "ensemble",
    },
}
_MEMBERS = {"CMIP6": "r1i1p1f1", "CMIP5": "r1i1p1"}
_FIXED_CMIP5 = "r0i0p0"  # the member of fields without time


@dataclass(frozen=True, kw_only=True)
class EsgfFile:
    """A file of the archive, and every place that has it.

    Attributes
    ----------
    name : str
        File name: variable, table, model, experiment, member, grid and months.
    urls : tuple of str
        Addresses of the original and of its replicas.
    checksum : str
        ``"sha256:..."`` or ``"md5:..."``.
    size : int
        Bytes.
    """

    name: str
    urls: tuple[str, ...]
    checksum: str
    size: int


@dataclass(frozen=True, kw_only=True)
class EsgfRequest:
    """A search in the archives of CMIP, and the download of what it finds.

    Attributes
    ----------
    node : str
        Address of the search service.
    params : dict
        Parameters of the search, of one page.
    expected : tuple of (str, str)
        Variable and experiment of every series asked for; fields without time have none.
    years : tuple of int, optional
        First and last year; files that end before or begin after are left out.
    """

    node: str
    params: dict[str, Any]
    expected: tuple[tuple[str, str], ...]
    years: tuple[int, int] | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """What is sent, as plain data."""
        return {"url": self.node, "params": dict(self.params)}

    @property
    def url(self) -> str:
        """The search as one address, to open in a browser."""
        return f"{self.node}?{urlencode(self.params, doseq=True)}"

    def search(self) -> list[EsgfFile]:
        """Ask the search service which files there are.

        Returns
        -------
        list of EsgfFile
            Sorted by name.

        Raises
        ------
        DataError
            If the service cannot be reached, answers with something else, or finds nothing.

        Warns
        -----
        PermafrostWarning
            If a variable of an experiment is missing (in these years).
        """
        records: list[Mapping[str, Any]] = []
        while True:
            answer = _ask(self.node, {**self.params, "offset": len(records)})
            records += answer["docs"]
            if not answer["docs"] or len(records) >= answer["numFound"]:
                break
        if not records:
            raise DataError(
                f"the archive has no file for this search ({self.url}). Look for the names of "
                "the model and its members there (not every model has r1i1p1f1), or try another "
                f"node: node= one of {list(NODES)}."
            )
        files = [file for file in _files(records) if _within(file.name, self.years)]
        if not files:
            raise DataError(
                f"the archive has files for this search, but none{_span(self.years)}: {self.url}"
            )
        have = {_series(file.name) for file in files}
        missing = [series for series in self.expected if not _has(have, series)]
        if missing:
            warnings.warn(
                "the archive has no file of "
                + ", ".join(f"{name} {scenario}".strip() for name, scenario in missing)
                + f" for this model and member{_span(self.years)} ({self.url}).",
                PermafrostWarning,
                stacklevel=2,
            )
        return files

    def download(
        self, folder: str | os.PathLike[str], *, progress: bool | None = None
    ) -> list[Path]:
        """Search, and download every file, verified by the checksum of the archive.

        Files that are there with the right checksum are kept; a download that was cut goes on
        where it stopped, at another replica if need be.

        Parameters
        ----------
        folder : path-like
            Made if it does not exist.
        progress : bool, optional
            Show progress bars; by default in a terminal only.

        Returns
        -------
        list of Path
            ``xp.open_cmip(paths)`` reads them: a Dataset for each scenario.

        Raises
        ------
        DataError
            As :meth:`search`; or if no place that has a file delivers it whole.
        OutputExistsError
            If another file of the same name is in ``folder``.
        """
        folder = Path(folder)
        return [_bring(file, folder / file.name, progress) for file in self.search()]


def esgf(
    model: str,
    scenarios: str | Iterable[str],
    variables: str | Iterable[str],
    *,
    years: Iterable[int] | None = None,
    project: str = "CMIP6",
    member: str | None = None,
    grid: str | None = None,
    node: str = "ornl",
) -> EsgfRequest:
    """Request for monthly output of a climate model from the ESGF; nothing is sent.

    The archives serve whole files of the globe: choose few variables, and years where a model
    has several files.

    Parameters
    ----------
    model : str
        ``source_id`` of CMIP6 or ``model`` of CMIP5, such as ``"IPSL-CM6A-LR"``.
    scenarios : str or iterable of str
        Experiments, such as ``["historical", "ssp126", "ssp585"]``.
    variables : str or iterable of str
        Canonical names, among them ``sftlf`` (share of land) and ``elevation``.
    years : iterable of int, optional
        Only files that hold years from the first to the last of these; by default all.
    project : {"CMIP6", "CMIP5"}
    member : str, optional
        By default ``r1i1p1f1`` (CMIP5: ``r1i1p1``).
    grid : str, optional
        ``grid_label`` of CMIP6, such as ``"gn"``, where a model has several.
    node : str
        Name of a search service, one of ``recipes.NODES``, or its address.

    Returns
    -------
    EsgfRequest
        ``.payload`` and ``.url`` to look at, ``.search()`` for the list of files,
        ``.download(folder)`` to bring them.

    Raises
    ------
    UnknownNameError
        If the project, a scenario, a variable or the node is not known.

    Examples
    --------
    >>> request = esgf("IPSL-CM6A-LR", ["historical", "ssp585"], ["tas", "tsl"])
    >>> request.params["experiment_id"], request.params["table_id"]
    ('historical,ssp585', 'Amon,Lmon')
    """
    table = VARIABLES[choose("project", project, VARIABLES)]
    chosen = [scenarios] if isinstance(scenarios, str) else list(dict.fromkeys(scenarios))
    names = [variables] if isinstance(variables, str) else list(dict.fromkeys(variables))
    if not chosen or not names:
        raise DataError(
            "a request needs scenarios and variables; type for instance "
            'xp.recipes.esgf("IPSL-CM6A-LR", ["historical", "ssp585"], ["tas", "pr"]).'
        )
    for name in names:
        if name not in table:
            raise unknown_name(f"variable of {project}", name, table)
    for scenario in chosen:
        choose(f"scenario of {project}", scenario, SCENARIOS[project])
    columns = [table[name] for name in names]
    members = [member or _MEMBERS[project]]
    if project == "CMIP5" and any(which == "fx" for _, which in columns):
        members.append(_FIXED_CMIP5)
    facets = _FACETS[project]
    values: dict[str, list[str]] = {
        "project": [project],
        facets["model"]: [model],
        facets["scenario"]: chosen,
        facets["variable"]: [name for name, _ in columns],
        facets["table"]: list(dict.fromkeys(which for _, which in columns)),
        facets["member"]: members,
    }
    if grid is not None:
        values["grid_label"] = [grid]
    url = node if node.startswith(("http://", "https://")) else NODES[choose("node", node, NODES)]
    expected = [(name, s) for name, which in columns for s in ([""] if which == "fx" else chosen)]
    wanted = None if years is None else sorted(int(year) for year in years)
    return EsgfRequest(
        node=url,
        params=_params(url, values),
        expected=tuple(expected),
        years=(wanted[0], wanted[-1]) if wanted else None,
    )


def _params(url: str, values: dict[str, list[str]]) -> dict[str, Any]:
    fixed = {"type": "File", "latest": "true", "format": "application/solr+json", "limit": PAGE}
    if url.rstrip("/").endswith("esg-search/search"):
        several = {name: v if len(v) > 1 else v[0] for name, v in values.items()}
        return {**several, **fixed, "distrib": "true"}
    return {**{name: ",".join(v) for name, v in values.items()}, **fixed}


def _ask(url: str, params: dict[str, Any]) -> Mapping[str, Any]:
    """The ``response`` of a search: ``numFound`` and ``docs``."""
    import requests

    try:
        answer = requests.get(url, params=params, timeout=PATIENCE)
        answer.raise_for_status()
        response = answer.json()["response"]
        return {"numFound": int(response["numFound"]), "docs": list(response["docs"])}
    except requests.JSONDecodeError as error:
        raise DataError(
            f"{url} answered with something that is not a search result "
            f"({answer.headers.get('Content-Type', 'no type')}). Try another node: node= one of "
            f"{list(NODES)}."
        ) from error
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{url} answered without 'response', 'numFound' or 'docs': it is not an ESGF search "
            f"service. Try another node: node= one of {list(NODES)}."
        ) from error
    except requests.RequestException as error:
        raise DataError(
            f"the search service {url} did not answer: {error}. Check the network, or try "
            f"another node: node= one of {list(NODES)}."
        ) from error


def _files(records: Iterable[Mapping[str, Any]]) -> list[EsgfFile]:
    """One entry a file from the records of its original and its replicas."""
    found: dict[str, EsgfFile] = {}
    # the original first, so that its checksum counts
    for record in sorted(records, key=lambda r: bool(_one(r.get("replica", False)))):
        urls = tuple(
            address
            for address, *_, service in (
                str(u).split("|") for u in record.get("url", ()) if "|" in u
            )
            if service == "HTTPServer"
        )
        digest, algorithm = _one(record.get("checksum")), _one(record.get("checksum_type"))
        if not (urls and digest and algorithm):
            continue  # cannot be downloaded, or not be verified
        name, checksum = str(_one(record["title"])), f"{str(algorithm).lower()}:{digest}"
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
            raise DataError(f"the archive names a file {name!r}, which is no plain file name.")
        known = found.get(name)
        if known is None:
            size = int(_one(record.get("size")) or 0)
            found[name] = EsgfFile(name=name, urls=urls, checksum=checksum, size=size)
        elif known.checksum.lower() == checksum.lower():
            urls = tuple(dict.fromkeys(known.urls + urls))
            found[name] = EsgfFile(name=name, urls=urls, checksum=checksum, size=known.size)
    if not found:
        raise DataError(
            "the archive lists files, but none with an HTTP address and a checksum. Try another "
            f"node: node= one of {list(NODES)}."
        )
    return [found[name] for name in sorted(found)]


def _one(value: Any) -> Any:
    """The value, or the first of a list: the index wraps many fields."""
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _series(name: str) -> tuple[str, str]:
    """Variable and experiment: ``variable_table_model_experiment_...``."""
    parts = [*name.split("_"), "", "", ""]
    return parts[0], parts[3]


def _within(name: str, years: tuple[int, int] | None) -> bool:
    """Whether a file ``..._200001-201412.nc`` holds some of the years; one without time does."""
    span = re.search(r"_(\d{4})\d*-(\d{4})\d*\.nc$", name)
    if years is None or span is None:
        return True
    return int(span[1]) <= years[1] and int(span[2]) >= years[0]


def _span(years: tuple[int, int] | None) -> str:
    return f" in {years[0]} to {years[1]}" if years else ""


def _has(have: set[tuple[str, str]], series: tuple[str, str]) -> bool:
    name, scenario = series
    return series in have if scenario else any(name == other for other, _ in have)


def _bring(file: EsgfFile, path: Path, progress: bool | None) -> Path:
    problems = []
    for url in file.urls:
        try:
            return retrieve(url, path, checksum=file.checksum, progress=progress)
        except DataError as error:
            problems.append(str(error))
    raise DataError(
        f"none of the {len(file.urls)} places that have {file.name} delivered it:\n"
        + "\n".join(problems)
    )
