"""waterflow: from a laboratory's file of water measurements to a defensible decision."""

__version__ = "0.2.0.dev0"
