"""``gauntlet attack``: attack again what the probes of finished runs recorded, and print a table."""

from typing import Annotated, Any

import typer

from .arguments import Pool, Workers


def attack(
    results: Annotated[
        list[str],
        typer.Argument(help="Folders of runs, sweeps or single recordings; patterns such as 'results/*'."),
    ],
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME", help="An attack, or '{name=\"dlg\", lr=0.5}'. Repeatable."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="OPTION=VALUE", help="An option of every attack. Repeatable."),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Attack nothing: say what each message allows, and why not.")
    ] = False,
    pool: Annotated[Pool, typer.Option("--pool", help="Where attacks run.")] = Pool.serial,
    workers: Workers = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Load code from outside that a folder of others names.")
    ] = False,
) -> None:
    """Attack recorded messages again; each attack and set of options keeps results of its own."""
    from ..core.errors import ScenarioError
    from .attack_table import print_allowed, print_findings
    from .reattack import attack_again, attacks_of, every_attack, look
    from .recorded import recorded

    attacks = attacks_of(with_ or (), set_ or ())
    if not attacks and (set_ or not list_):
        raise ScenarioError(
            "name an attack with --with; 'gauntlet list leakage_attacks' and 'gauntlet attack RESULT --list' "
            "show them"
        )
    runs = recorded(results, allow_code)
    if list_:
        print_allowed(look(runs, attacks or every_attack()))
    else:
        print_findings(attack_again(runs, attacks, _submit(pool, workers)))


def _submit(pool: Pool, workers: int | None) -> Any:
    from .probes import submit_later, submit_to_ray

    if pool is Pool.serial:
        return submit_later
    from ..clients.pools.ray import start_ray

    start_ray(None, workers)
    return submit_to_ray
