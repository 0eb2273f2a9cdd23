"""Command-line options with which the gallery runs the examples."""

from __future__ import annotations

from pathlib import Path

OUT = Path(__file__).parent / "_build" / "gallery_out"


def reset_argv(gallery_conf: dict, script_vars: dict) -> list[str]:
    """Write into the build folder, over what an earlier build wrote."""
    return ["--out", str(OUT), "--overwrite"]
