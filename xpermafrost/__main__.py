"""``python -m xpermafrost``: the command line, see :mod:`xpermafrost.cli`."""

from .cli import main

raise SystemExit(main())
