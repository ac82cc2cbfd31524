"""The one place that holds the version of the four packages."""

__version__ = "0.2.0"
