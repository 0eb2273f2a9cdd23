"""A simulated Alaska: geography, ground, weather, surface and soil. Private; see ``datasets``."""
