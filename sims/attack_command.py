"""``gauntlet attack``: attack again what the probes of finished runs recorded, and print a table."""

from typing import Annotated, Any

import typer

from .arguments import Aware, Pool, Workers
from .terminal import say


def attack(
    results: Annotated[
        list[str],
        typer.Argument(help="Folders of runs, sweeps or single recordings; patterns such as 'results/*'."),
    ],
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="NAME", help="An attack, '{name=\"dlg\", lr=0.5}', or auto. Repeatable."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="OPTION=VALUE", help="An option of every attack. Repeatable."),
    ] = None,
    codec_aware: Annotated[
        Aware | None,
        typer.Option("--codec-aware", help="Whether attacks take what the codec says of its frames."),
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
    """Attack recorded messages again; each attack and set of options keeps results of its own.

    'auto' stands for every exact attack that accepts a message, and the best that matches gradients.
    """
    from ..core.errors import ScenarioError
    from .attack_choice import attacks_of, automatically
    from .attack_table import print_allowed, print_findings
    from .attack_verdict import verdicts
    from .reattack import attack_again, every_attack, look
    from .recorded import recorded

    attacks, meant = attacks_of(with_ or (), set_ or (), codec_aware)
    if not attacks and (set_ or codec_aware or not list_):
        raise ScenarioError(
            "name an attack with --with; 'gauntlet list leakage_attacks' and 'gauntlet attack RESULT --list' "
            "show them"
        )
    runs = recorded(results, allow_code)
    if list_:
        print_allowed(look(runs, attacks or every_attack()))
    else:
        found = attack_again(runs, attacks, _submit(pool, workers), lambda cases: automatically(cases, meant))
        print_findings(found)
        say("\n".join(verdicts(found) if meant else ()))


def _submit(pool: Pool, workers: int | None) -> Any:
    from .probes import submit_later, submit_to_ray

    if pool is Pool.serial:
        return submit_later
    from ..clients.pools.ray import start_ray

    start_ray(None, workers)
    return submit_to_ray
