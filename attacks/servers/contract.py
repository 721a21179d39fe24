"""What every malicious server owes; ``gauntlet check-plugin`` runs the same functions.

Checks work on a small model of 8 x 8 images that begins with a linear layer, since many servers want that; a
server that refuses it is tried on one that forecasts the tokens of ``core.people``.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.contracts import MaliciousServer, Secret
from ...core.declarations import Servers, declared
from ...core.errors import GauntletError
from ...core.guards import guard
from ...core.layout import Layout
from ...core.people import LENGTH, TOKENS
from ...core.registry import require
from ...core.replies import REPLIES
from ...core.seeds import generator, seeded_torch
from ...core.trees import State, equal, pack, unpack
from ...core.untouched import untouched

SHAPE, CLASSES, ROUNDS = (1, 8, 8), 10, 3


def plain_model() -> nn.Module:
    """Return the model that servers are tried on; the same in every call."""
    with seeded_torch(generator(0, "server_contract")):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, CLASSES))


class Forecaster(nn.Module):
    """From tokens [B, 32] to the logits of those that follow [B, 32, V]; its middle layer is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(len(TOKENS), 8), nn.Embedding(LENGTH, 8)
        self.inner, self.head = nn.Linear(8, 8).requires_grad_(False), nn.Linear(8, len(TOKENS))

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1]).expand_as(x)
        logits: Tensor = self.head(self.inner(self.tokens(x) + self.positions(places)).tanh())
        return logits


def _given(server: MaliciousServer) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the model that a server is tried on, three inputs of it and their labels."""
    draw = torch.Generator().manual_seed(0)
    try:
        with seeded_torch(generator(0, "server_contract_model")):
            _watched(server).rebuild(plain_model())
    except GauntletError as error:
        if not isinstance(error.__cause__, ValueError):
            raise
        with seeded_torch(generator(0, "server_contract")):
            rows = torch.randint(0, len(TOKENS), (3, LENGTH + 1), generator=draw)
            return Forecaster(), rows[:, :-1], rows[:, 1:]
    return plain_model(), torch.rand(3, *SHAPE, generator=draw), torch.tensor([0, 1, 2])


def rebuilt(server: MaliciousServer) -> tuple[nn.Module, Secret]:
    """Return what a server makes of the model, and what it knows of that."""
    model, _, _ = _given(server)
    with seeded_torch(generator(0, "server_contract_model")):
        return _watched(server).rebuild(model)


def planted(server: MaliciousServer, round_: int = 0, state: State = None) -> tuple[Tensor, Secret, State]:
    """Return what a server plants into the rebuilt model's parameters in a round."""
    model, secret = rebuilt(server)
    params = Layout.of(model).flatten(dict(model.named_parameters()))
    state = _watched(server).init(secret) if state is None else state
    return _watched(server).plant(params, state, generator(0, "server_contract_plant", round_))


def _watched(server: MaliciousServer) -> MaliciousServer:
    plain = getattr(server, "__wrapped__", server)
    return guard(plain, f"server {type(plain).__name__}", REPLIES["servers"])


def a_rebuilt_model_takes_and_gives_what_the_model_did(server: MaliciousServer) -> None:
    """Inputs of one shape give finite logits of one shape, and something of it is trained."""
    model, _ = rebuilt(server)
    before, x, _ = _given(server)
    with torch.no_grad():
        logits, wanted = model(x), before(x).shape
    require(logits.shape == wanted, f"3 examples gave {list(logits.shape)}, expected {list(wanted)}")
    require(bool(logits.isfinite().all()), "3 examples gave logits that are not finite")
    require(Layout.of(model).num_parameters > 0, "the rebuilt model has no trainable parameters")


def a_model_is_rebuilt_alike_wherever_that_is(server: MaliciousServer) -> None:
    """Equal models give equal layers, parameters and secrets: workers and replays build it again."""
    (one, told), (two, again) = rebuilt(server), rebuilt(server)
    require(Layout.of(one) == Layout.of(two), "the same model was rebuilt twice with other layers")
    flat = [Layout.of(m).flatten(dict(m.named_parameters())) for m in (one, two)]
    require(torch.equal(*flat), "the same model was rebuilt twice with other parameters")
    require(equal(dict(told), dict(again)), "the same model was rebuilt twice with other secrets")


def planted_parameters_are_finite_and_as_many(server: MaliciousServer) -> None:
    """float32 [P], finite, beside a secret by name and a memory; over some rounds."""
    for _ in _rounds(server):
        pass


def _rounds(server: MaliciousServer) -> list[tuple[Tensor, Secret, State]]:
    found: list[tuple[Tensor, Secret, State]] = []
    for number in range(ROUNDS):
        found.append(planted(server, number, found[-1][2] if found else None))
    return found


def the_servers_own_parameters_are_left_as_they_were(server: MaliciousServer) -> None:
    """What is planted is new: the aggregate goes onto the server's own."""
    model, secret = rebuilt(server)
    params = Layout.of(model).flatten(dict(model.named_parameters()))
    state = server.init(secret)
    with untouched(f"server {type(server).__name__}", params):
        server.plant(params, state, generator(0, "server_contract_plant"))


def equal_rounds_plant_equal_parameters(server: MaliciousServer) -> None:
    """Whatever torch's global stream holds, which stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = planted(server)
        require(torch.equal(before, torch.get_rng_state()), "it drew from torch's global generator")
        torch.manual_seed(2)
        second = planted(server)
    same = torch.equal(first[0], second[0]) and equal(dict(first[1]), dict(second[1]))
    require(same and equal(first[2], second[2]), "equal arguments planted two different things")


def the_memory_and_the_secret_survive_a_checkpoint(server: MaliciousServer) -> None:
    """Both are trees, and after their way to a file the next round is the same."""
    _, secret = rebuilt(server)
    require(equal(unpack(*pack(dict(secret))), dict(secret)), "the secret is another after a checkpoint")
    _, told, state = planted(server)
    require(equal(unpack(*pack(dict(told))), dict(told)), "the secret is another after a checkpoint")
    if state is None:
        return
    went, came = planted(server, 1, state), planted(server, 1, unpack(*pack(state)))
    require(torch.equal(went[0], came[0]), "after a checkpoint it plants something else")


def it_changes_what_it_declares(server: MaliciousServer) -> None:
    """``nothing``, the ``parameters``, or the ``model``: its layers are others then, and only then."""
    says = declared(server, Servers.deviates)
    model, secret = rebuilt(server)
    given, _, _ = _given(server)
    before, after = Layout.of(given), Layout.of(model)
    same = before == after and type(model) is type(given)
    require(says != "model" or not same, "it declares deviates = 'model', and rebuilds none")
    weights = zip(given.state_dict().values(), model.state_dict().values(), strict=False)
    moved = not same or any(not torch.equal(*pair) for pair in weights)
    require(says != "weights" or moved, "it declares deviates = 'weights', and changes none")
    require(says == "model" or same, f"it declares deviates = '{says}', and rebuilds the model")
    own = after.flatten(dict(model.named_parameters()))
    plants = any(not torch.equal(params, own) for params, _, _ in _rounds(server))
    require(says != "parameters" or plants, "it declares deviates = 'parameters', and plants none")
    silent = not plants and not secret
    require(
        says != "nothing" or silent, "it declares deviates = 'nothing', and plants something or has a secret"
    )


def a_client_can_train_on_what_is_planted(server: MaliciousServer) -> None:
    """One step of SGD on three images leaves finite parameters, some of them moved."""
    model, _ = rebuilt(server)
    layout, own = Layout.of(model), dict(model.named_parameters())
    params, _, _ = planted(server)
    with torch.no_grad():
        for name, value in layout.views(params).items():
            own[name].copy_(value)
    _, x, y = _given(server)
    loss = functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
    wanted = [own[slot.name] for slot in layout.parameters]
    moved = torch.autograd.grad(loss, wanted, allow_unused=True)
    flat = torch.cat([g.reshape(-1) for g in moved if g is not None])
    require(bool(flat.isfinite().all()), "a client's gradient is not finite")
    require(bool(flat.any()), "a client's gradient is 0 everywhere: it learns and tells nothing")


CHECKS: tuple[Callable[[MaliciousServer], None], ...] = (
    a_rebuilt_model_takes_and_gives_what_the_model_did,
    a_model_is_rebuilt_alike_wherever_that_is,
    planted_parameters_are_finite_and_as_many,
    the_servers_own_parameters_are_left_as_they_were,
    equal_rounds_plant_equal_parameters,
    the_memory_and_the_secret_survive_a_checkpoint,
    it_changes_what_it_declares,
    a_client_can_train_on_what_is_planted,
)
