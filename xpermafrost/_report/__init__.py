"""The parts of :func:`xpermafrost.report`. Private; see ``reporting``."""
