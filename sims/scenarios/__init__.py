"""Named scenarios that ship with the package."""
