"""Imports go downward, stay light, and modules stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xpermafrost

ROOT = Path(xpermafrost.__file__).parent

#: Layers from the ground up: a module imports, at its head, from lower layers and its own.
#: `_checks` stands on `schema`; `baselines` and what follows know fitted models by their type.
#: `gis` writes any Dataset and needs no model; it stands high because it is the last step.
LAYERS = (
    ("errors",),
    ("_optional", "_files", "_memory", "_sun"),
    ("schema", "_checks", "_blocks"),
    (
        "sources",
        "regions",
        "_reduce_kernels",
        "_year_kernels",
        "_quantile_kernels",
        "_quantile_sorting",
        "_inference_kernels",
        "_attention_kernels",
        "_bias_groups",
        "_bias_inputs",
        "_bias_arrays",
        "_bias_fast",
        "_bias_divergence",
        "_bias_xsdba",
        "bias",
        "climatology",
        "_feature_memory",
        "ensembles",
        "global_warming",
        "features",
        "concentrations",
        "data",
        "scaling",
        "windows",
        "physics",
        "_scenario_names",
        "_scenario_places",
        "_scenario_axes",
        "experiment",
        "forcing",
        "spectra",
        "_scenario_runs",
        "_scenario_tests",
        "_scenario_climate",
        "scenario_checks",
        "consistency",
        "soil_water",
        "multivariate",
        "adjustment_tables",
        "preparation",
        "_block_reading",
        "_block_preparation",
        "products",
        "checkpoint",
        "_state_archive",
        "diagnostics",
        "masks",
        "polygons",
        "_polygon_kernels",
        "region_files",
        "sampling",
        "place_sampling",
        "_grids",
        "regridding",
        "_regrid_engines",
        "_regrid_kernels",
        "depth",
        "_cf",
    ),
    ("models",),
    ("_inference",),
    ("fitted", "_explains"),
    (
        "_gathering",
        "_training_config",
        "_block_batches",
        "batches",
        "_training_state",
        "_parallel",
        "training",
        "_training_loop",
        "pretraining",
        "_teacher",
    ),
    (
        "baselines",
        "_column_baseline",
        "_equilibrium_baselines",
        "_front_baselines",
        "_wave_baseline",
        "_pooled_baselines",
    ),
    ("hybrid", "persistence"),
    ("projection",),
    (
        "evaluation",
        "_protocols",
        "_change_scores",
        "perfect_model",
        "unseen_places",
        "region_validation",
        "recursive",
        "_scoreboard",
        "validation",
        "explanation",
        "attributions",
        "_attribution",
        "_attribution_shap",
        "_attributed",
        "_explained",
        "_explained_windows",
    ),
    (
        "testing",
        "_sampleworld",
        "datasets",
        "_downloads",
        "recipes",
        "gis",
        "stores",
        "_geotiff",
        "_pixels",
        "_vector",
        "_profiles",
        "plot",
    ),
    ("_report", "reporting"),
    ("_accessor_diagnostics", "_accessor_ensembles", "_accessor_plot", "_accessor_report"),
    ("accessor", "_cli_arguments", "_cli_output", "cli", "__main__"),
    ("__init__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

#: Heavy packages, and the modules that may import them at their head.
HEAVY = {
    "torch": (
        "models",
        "_inference",
        "fitted",
        "training",
        "_training_loop",
        "_training_config",
        "_training_state",
        "_gathering",
        "_block_batches",
        "_parallel",
        "batches",
        "hybrid",
        "_attribution",
        "_attribution_shap",
        "recursive",
    ),
    "llvmlite": ("_inference_kernels", "_attention_kernels"),
    "numba": (
        "_reduce_kernels",
        "_year_kernels",
        "_polygon_kernels",
        "_regrid_kernels",
        "_quantile_kernels",
        "_quantile_sorting",
        "_inference_kernels",
        "_attention_kernels",
        "physics",
        "_sampleworld",
    ),
    "geopandas": (),
    "shapely": (),
    "rasterio": (),
    "rioxarray": (),
    "regionmask": (),
    "pyproj": (),
    "cfgrib": (),
    "shap": (),
    "xclim": (),
    "xsdba": (),
    "matplotlib": (),
    "sklearn": (),
    "joblib": (),
    "scipy": ("physics", "_sampleworld"),
}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield (parts[0] if parts[-1] != "__init__" or len(parts) > 1 else "__init__"), path


def top_of(path: Path) -> list[ast.stmt]:
    """Statements that run on import, without those for type checkers only."""
    found: list[ast.stmt] = []
    todo = list(ast.parse(path.read_text()).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.With):
            todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        else:
            found.append(node)
    return found


def own_imports(path: Path, nodes) -> set[str]:
    """Modules of this package, by their first name, that some statements import."""
    here = path.relative_to(ROOT).parent.parts
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1]
            if base:
                names.add(base[0])
            elif node.module:
                names.add(node.module.split(".")[0])
            else:
                known = (alias.name for alias in node.names)
                names |= {name if name in RANK else "__init__" for name in known}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("xpermafrost"):
            names.add((str(node.module).split(".") + ["__init__"])[1])
    return names


def outside_imports(nodes) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).split(".")[0])
    return names


def test_every_module_has_its_layer():
    missing = {name for name, _ in modules()} - set(RANK)
    assert not missing, f"give {missing} a layer in this test"


def test_imports_at_the_head_go_downward():
    wrong = []
    for name, path in modules():
        for imported in own_imports(path, top_of(path)) - {name, "__init__"}:
            if RANK[imported] > RANK[name]:
                wrong.append(f"{path.relative_to(ROOT)} imports {imported}")
    assert not wrong


def test_only_the_version_is_taken_from_the_package_itself():
    for name, path in modules():
        for node in top_of(path):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and not node.module:
                if path.parent != ROOT or name == "__init__":
                    continue
                taken = {alias.name for alias in node.names} - set(RANK)
                assert taken <= {"__version__"}, (name, taken)


def test_imports_inside_functions_go_downward_too():
    """A late import may save time, but not turn the order round; the exceptions are named."""
    allowed = {
        ("experiment", "sources"),  # same layer
        ("testing", "experiment"),
        ("_explains", "explanation"),  # a method of the model, above it in the layers
        ("pretraining", "datasets"),  # the folder of cached files
    }
    wrong = []
    for name, path in modules():
        if name.startswith("_accessor") or name in ("accessor", "cli", "__init__"):
            continue
        late = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
        for imported in own_imports(path, late) - {name, "__init__"}:
            if RANK[imported] > RANK[name] and (name, imported) not in allowed:
                wrong.append(f"{path.relative_to(ROOT)} imports {imported}")
    assert not wrong


@pytest.mark.parametrize("package", list(HEAVY))
def test_heavy_packages_are_imported_where_they_are_needed(package):
    users = {name for name, path in modules() if package in outside_imports(top_of(path))}
    assert users <= set(HEAVY[package])


def test_importing_the_package_is_light():
    heavy = ("torch", "shap", "xclim", "xsdba", "numba", "matplotlib", "sklearn")
    code = f"import sys, xpermafrost; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_work_without_networks_does_not_import_torch():
    code = (
        "import sys, xpermafrost as xp; from xpermafrost.testing import canonical;"
        "ds = xp.combine(canonical(years=2), rcp85=canonical(years=3)); xp.standardize(ds);"
        "xp.alaska_bands(); xp.layer_coords(); ds.permafrost.to_cf; xp.VARIABLES;"
        "print([m for m in ('torch', 'xclim', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_accessors_keep_the_object_only():
    tree = ast.parse((ROOT / "accessor.py").read_text())
    inits = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    assert len(inits) == 2
    for init in inits:
        assert [ast.unparse(line) for line in init.body] == ["self._obj = obj"]


def test_modules_are_short():
    # the longest line count a reader should meet; bias.py carries its docstrings' formulas
    longest = {"bias.py": 480}
    long = {
        str(path.relative_to(ROOT)): count
        for _, path in modules()
        if (count := len(path.read_text().splitlines())) > longest.get(path.name, 450)
    }
    assert not long


def test_no_pickle_no_print_no_star_arguments():
    for name, path in modules():
        tree = ast.parse(path.read_text())
        assert "pickle" not in outside_imports(ast.walk(tree)), name
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print" or name == "cli", path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert any(k.arg == "weights_only" for k in node.keywords), path
