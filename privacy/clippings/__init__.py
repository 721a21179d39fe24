"""Clippings: how an update is shortened, and how the clip norm moves."""
