"""From a run's spec to its plan: ``parts`` (every plug-in, built once), ``refusals``, ``build``."""
