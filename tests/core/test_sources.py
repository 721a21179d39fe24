"""Which source files a plug-in from outside stands for; none of them is run."""

from pathlib import Path

import pytest

from gauntlet.core.outside import is_outside
from gauntlet.core.sources import hash_of, sources


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    """A package, a module and a file that import each other; whatever is run leaves a trace."""
    trace = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    files = {
        "packed/__init__.py": "",
        "packed/plug.py": "from . import near\nfrom .deep.er import x\nimport torch, os\nclass A: pass\n",
        "packed/near.py": "import beside_it\n",
        "packed/deep/__init__.py": "",
        "packed/deep/er.py": "x = 1\n",
        "packed/far.py": "",
        "beside_it.py": "def late():\n    import only_late\n",
        "only_late.py": "",
        "single.py": "import beside_it\nimport gauntlet.defenses\nclass A: pass\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(trace + text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_modules_sources_are_its_own_and_all_of_the_users_that_it_imports(project):
    """Not torch and os, which versions tell apart; not ``far``, which nothing imports."""
    found = sources(["packed.plug:A"])

    assert list(found) == [
        "beside_it", "only_late", "packed", "packed.deep", "packed.deep.er", "packed.near", "packed.plug",
    ]  # fmt: skip
    assert found["packed.near"] == project / "packed" / "near.py"
    assert not (project / "ran").exists()


def test_a_files_sources_begin_with_itself(project):
    assert list(sources([f"{project}/single.py:A"])) == [f"{project}/single.py", "beside_it", "only_late"]
    assert not (project / "ran").exists()


def test_an_installed_package_that_is_a_plug_in_itself_counts_and_what_it_imports_does_not():
    assert list(sources(["torch.optim.sgd:SGD"])) == ["torch.optim.sgd"]


def test_what_has_no_source_or_is_not_there_is_left_out():
    assert sources(["no_such_module:A", "/no/such/file.py:A", "numpy._core._multiarray_umath:x"]) == {}
    assert hash_of(Path("/no/such/file.py")) == "absent"


@pytest.mark.parametrize(
    ("target", "outside"),
    [
        ("gauntlet.defenses.mean:WeightedMean", False),
        ("gauntlet.server.flower.strategies:strategy_defense", False),
        ("gauntlet.results.theirs.code.evil:Evil", True),
        ("gauntlet:simulate", True),
        ("gauntlet_not:A", True),
        ("/x/gauntlet/defenses/mean.py:WeightedMean", True),
    ],
)
def test_only_the_packages_own_floors_are_inside(target, outside):
    """A checkout is the package: a result folder in it can be imported under its name."""
    assert is_outside(target) == outside
