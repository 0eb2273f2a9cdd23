"""Runs the tutorial in an empty folder and keeps the figures that it draws: ``docs/images``.

``python docs/tutorial_figures.py``, whenever the tutorial or a figure of the package changes.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(r"<!-- run(?:: (\S+))? -->\n(?:```python\n(.*?)\n```)?", re.DOTALL)


def main() -> None:
    """Execute every marked block in order, then copy ``tutorial_*.png``."""
    namespace: dict[str, object] = {"__name__": "tutorial"}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for script, code in BLOCK.findall((HERE / "tutorial.md").read_text()):
            code = (HERE / script).read_text() if script else code
            exec(compile(code, script or "tutorial.md", "exec"), namespace)
        for path in sorted(Path().glob("tutorial_*.png")):
            shutil.copy2(path, HERE / "images" / path.name)


if __name__ == "__main__":
    main()
