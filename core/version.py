"""The version of the installed distribution."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("gauntlet-fl")
except PackageNotFoundError:  # a checkout on the path that was never installed
    VERSION = "0.0.0"
