"""Benchmarks: asv layout (``time_``, ``peakmem_``), and ``python -m benchmarks.NAME``."""
