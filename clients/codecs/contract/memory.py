"""What every codec owes to those who come back: clients kept apart, and a state that goes with them."""

import torch

from ....core import trees
from ....core.contracts import Codec
from ....core.declarations import Codecs, declared
from ....core.registry import require
from ..parts.between_rounds import settled
from .specimens import P, cohort_of, mixed, normal, sent


def leaves_its_inputs_as_they_were(codec: Codec) -> None:
    """Neither the updates nor the state handed in are written to."""
    updates, first = mixed(), codec.init()
    before = updates.vectors.clone()
    states = [first, sent(codec, updates, 2, first)[1]]
    for state in states:
        packed = trees.pack(state)
        sent(codec, updates, 3, state)
        require(torch.equal(before, updates.vectors), "encode wrote to the updates")
        require(trees.equal(trees.unpack(*packed), state), "encode wrote to the state")
        settled(codec, state, updates.client_ids.tolist())
        require(trees.equal(trees.unpack(*packed), state), "settle wrote to the state")


def encodes_each_client_as_if_alone(codec: Codec) -> None:
    """Neither a client's frame nor the state after all of them depends on who else is in the batch."""
    updates = mixed()
    together, after = sent(codec, updates)
    for k in range(len(updates)):
        one = updates.rows(torch.tensor([k]))
        alone, _ = sent(codec, one)
        require(alone[0] == together[k], "a client encoded alone sends another frame than in a batch")
    state = codec.init()
    for k in range(len(updates)):
        _, state = sent(codec, updates.rows(torch.tensor([k])), state=state)
    require(trees.equal(state, after), "clients encoded one by one leave another state than in a batch")


def remembers_by_client_id(codec: Codec) -> None:
    """What a client sends in later rounds follows from its own messages and whether they were counted.

    Never from who else takes part, in which row it stood, or which rounds it stayed away from.
    """
    updates = cohort_of([normal(i) for i in range(3)])
    watched = updates.rows(torch.tensor([1]))
    for counted in ([1, 4, 7], [1, 7]):  # the watched client is 4
        crowd, lonely = codec.init(), codec.init()
        for number in range(2, 5):
            cohort = updates if number == 2 else updates.rows(torch.tensor([1, 2]))
            others = cohort.rows(cohort.client_ids != 4) if number == 3 else cohort
            frames, crowd = sent(codec, others, number, crowd)
            crowd = settled(codec, crowd, [i for i in counted if i in others.client_ids.tolist()])
            if number == 3:
                continue  # the watched client stays away, for nothing that it remembers
            expected, lonely = sent(codec, watched, number, lonely)
            lonely = settled(codec, lonely, [i for i in counted if i == 4])
            row = others.client_ids.tolist().index(4)
            require(
                frames[row] == expected[0], "a client's later frame depends on the other clients of a cohort"
            )


def has_a_state_that_packs(codec: Codec) -> None:
    """The state survives a checkpoint, and the frames after it are the same."""
    _, after = sent(codec, mixed())
    for state in (after, settled(codec, after, mixed().client_ids.tolist())):
        try:
            restored = trees.unpack(*trees.pack(state))
        except TypeError as error:
            require(False, str(error))
        one, _ = sent(codec, mixed(), 3, state)
        two, _ = sent(codec, mixed(), 3, restored)
        require(one == two, "a restored state gives other frames")


def shares_what_packs(codec: Codec) -> None:
    """What the server sends for both sides to know is a tree, and the same when made again."""
    share = declared(codec, Codecs.share)
    if share is None:
        return
    params, aggregate, state = torch.linspace(-1, 1, P), torch.linspace(1, 0, P), codec.init()
    before, found = (params.clone(), aggregate.clone()), share(params, aggregate, state)
    require(torch.equal(before[0], params) and torch.equal(before[1], aggregate), "share wrote to its inputs")
    try:
        trees.pack(found)
    except TypeError as error:
        require(False, str(error))
    require(
        trees.equal(found, share(params, aggregate, state)), "share gives something else when asked again"
    )
