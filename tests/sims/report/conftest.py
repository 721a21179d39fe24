"""Runs to make pages of, and a page read back as a browser's parser reads it."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gauntlet.sims.results import Run
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import Scenario, make_scenario

SMALL = {
    "name": "small",
    "rounds": 3,
    "num_clients": 6,
    "data": "digits",
    "model": {"name": "mlp", "hidden": [8], "activation": "tanh"},
    "training": {"local_steps": 1, "batch_size": 2, "lr": 0.5},
    "runtime": {"pool": "serial"},
    "attacks": [{"name": "sign_flip", "count": 1, "scale": 10.0}],
    "probes": [{"name": "idlg", "max_iterations": 3}],
}


@pytest.fixture(scope="session")
def small() -> Callable[..., Scenario]:
    """Return a scenario of seconds in which somebody attacks and somebody listens."""
    return lambda **changes: make_scenario({**SMALL, **changes})


@pytest.fixture(scope="session")
def attacked(small: Callable[..., Scenario], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with one attacker and an eavesdropper on batches of one example."""
    scenario = small(training={"local_steps": 1, "batch_size": 1, "lr": 0.5})
    return simulate(scenario, tmp_path_factory.mktemp("pages") / "attacked")


class Seen(HTMLParser):
    """What a parser finds in a page: tags with their attributes, and the text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.words, self.scripts, self._inside = "", [""], ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("style", "script") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.words += f"{data} "

    def of(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def seen() -> Callable[[Path], Seen]:
    """Parse a page."""
    return lambda path: Seen(path.read_text(encoding="utf-8"))
