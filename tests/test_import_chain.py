"""How far it is from a file to the lowest one that it needs: every hop is one more file to read."""

from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

import gauntlet

ROOT = Path(gauntlet.__file__).parent
LONGEST = 15  # files


@cache
def source(module: str) -> list[str]:
    place = ROOT.joinpath(*module.split(".")[1:])
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return file.read_text(encoding="utf-8").splitlines()


def imports() -> dict[str, set[str]]:
    """Return what each module imports when it is loaded: nothing for types alone, nothing in a function."""
    graph = grimp.build_graph("gauntlet", exclude_type_checking_imports=True, cache_dir=None)

    def on_loading(importer: str, imported: str) -> bool:
        found = graph.get_import_details(importer=importer, imported=imported)
        return any(not source(importer)[one["line_number"] - 1].startswith(" ") for one in found)

    return {
        module: {n for n in graph.find_modules_directly_imported_by(module) if on_loading(module, n)}
        for module in graph.modules
    }


def test_no_chain_of_imports_is_longer_than_its_limit_and_none_is_a_circle():
    """``static_order`` refuses a circle."""
    needs = imports()
    chain: dict[str, tuple[str, ...]] = {}
    for module in TopologicalSorter(needs).static_order():
        chain[module] = (module, *max((chain[n] for n in needs[module]), key=len, default=()))

    longest = max(chain.values(), key=len)
    assert len(longest) <= LONGEST, "\n".join(longest)
    assert len(longest) > LONGEST - 3, "lower the limit"
    assert len(needs) > 300


def test_nothing_that_a_run_loads_first_loads_scipy():
    """Its statistics alone cost 0.6 CPU seconds; what needs them imports them in a function."""
    outside = [
        (path.relative_to(ROOT), line)
        for floor in ("core", "clients", "attacks", "defenses", "privacy", "server", "sims")
        for path in ROOT.joinpath(floor).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("import scipy", "from scipy"))
    ]
    assert outside == []
