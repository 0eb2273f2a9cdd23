"""Every stage for asv: ``asv run --config benchmarks/asv.conf.json --environment existing``."""

from __future__ import annotations

from . import compare


class Ours:
    """The first of ours of every stage, at the size of a quick run."""

    params = tuple(stage.name for stage in compare.stages())
    param_names = ("stage",)

    def setup(self, name: str) -> None:
        (stage,) = (each for each in compare.stages() if each.name == name)
        work = stage.make(stage.quick)
        self.run = work.ours[work.first]
        self.run()  # compiles and imports

    def time_stage(self, name: str) -> None:
        self.run()

    def peakmem_stage(self, name: str) -> None:
        self.run()
