"""The command line, for pages that are followed and blocks that are run."""

from command_line import gauntlet

__all__ = ["gauntlet"]
