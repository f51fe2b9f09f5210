"""waterflow: from a laboratory's CSV of water measurements to a defensible decision."""

__version__ = "0.2.0.dev0"
