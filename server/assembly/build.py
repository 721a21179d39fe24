"""From parts that nothing refuses to the plan of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.declarations import Algorithms, ClientData, Mechanisms, Servers, declared
from ...core.frames import public_spec
from ...core.options import public_options
from ...core.seeds import generator
from ...privacy import PRIVACY
from ...privacy.accounting import Accountant
from ..guarantee.canaries import Canaries
from ..plan import Plan
from ..spec import RunSpec, noise_seed
from .parts import watched

if TYPE_CHECKING:
    from ...core.contracts import Audit, Privacy
    from ...core.layout import Layout
    from .fitted import Fitted


def make_plan(fitted: Fitted) -> Plan:
    """Return the plan of a run that nothing refuses."""
    parts, layout = fitted.parts, fitted.layout
    spec, (poisons, attacks) = parts.spec, parts.roles
    privacy = watched(PRIVACY, fitted.privacy, spec.privacy.name)
    return Plan(
        seed=spec.seed,
        noise_seed=noise_seed(spec),
        layout=layout,
        sampler=parts.sampler,
        sampling=parts.sampling,
        poisons=poisons,
        attacks=attacks,
        codec=parts.codec,
        public=public_spec(fitted.exchange.up, spec.codec.name, public_options(parts.codec)),
        codec_down=parts.codec_down,
        public_down=public_spec(layout, spec.codec_down.name, public_options(parts.codec_down)),
        network=parts.network,
        schedule=parts.schedule,
        server=parts.server,
        inserted=_inserted(fitted),
        privacy=privacy,
        pre_aggregations=parts.pre_aggregations,
        defense=parts.defense,
        optimizer=parts.optimizer,
        exchange=fitted.exchange,
        levels=fitted.levels,
        link=parts.link,
        own_step=parts.brings(Algorithms.step),
        rows=spec.rows,
        fitted_inputs=declared(fitted.data, ClientData.fitted),
        accountant=Accountant(declared(fitted.privacy, Mechanisms.delta), spec.num_clients, spec.max_epsilon),
        audit=parts.audit,
        canaries=_canaries(spec, parts.audit, privacy, fitted.exchange.up),
    )


def _inserted(fitted: Fitted) -> dict[str, Any]:
    """Return what a server that is not honest knows before round 0: its own name, and what it rebuilt."""
    parts = fitted.parts
    if declared(parts.server, Servers.deviates) == "nothing" and not fitted.secret:
        return {}
    return {"server": parts.spec.server.name.rpartition(":")[2], **fitted.secret}


def _canaries(spec: RunSpec, audit: Audit, privacy: Privacy, layout: Layout) -> Canaries:
    """Return the audit's canaries."""
    return Canaries(
        seed=spec.seed,
        noise_seed=noise_seed(spec),
        first=spec.num_clients,
        present=audit.present(generator(spec.seed, "canaries present")),
        num_unseen=audit.num_unseen,
        num_parameters=layout.num_parameters,
        privacy=privacy,
        clip_norm=float(declared(privacy, Mechanisms.clip_norm) or 1.0),
    )
