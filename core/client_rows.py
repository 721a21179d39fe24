"""What is remembered of single clients: one vector a client, by stable client id.

Such a memory is a dictionary from client id to a tensor [S]: a state as ``trees`` describes it, so that a
checkpoint holds it. Who was never written has no entry: memory follows those who came, never the population.
A change makes a new dictionary, in which unchanged clients share their tensors with the old one.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

ClientRows = Mapping[int, Tensor]
"""From a stable client id to what is remembered of that client.  # [S]"""


def rows_of(memory: ClientRows, client_ids: Sequence[int], first: Tensor) -> Tensor:
    """Return the clients' vectors, new, in the order of ``client_ids``.  # [K, S]

    Args:
        memory: What is remembered.
        client_ids: Stable ids.
        first: The vector of a client that was never written.  # [S]

    Raises:
        ValueError: A client's vector is of another length than ``first``.
    """
    found = [memory.get(client, first) for client in client_ids]
    for client, row in zip(client_ids, found, strict=True):
        if row.shape != first.shape:
            raise ValueError(
                f"client {client} is remembered by a vector {list(row.shape)}, expected {list(first.shape)}"
            )
    return torch.stack(found) if found else first.new_zeros(0, *first.shape)


def with_rows(memory: ClientRows, client_ids: Sequence[int], rows: Tensor) -> dict[int, Tensor]:
    """Return the memory in which the clients' vectors are copies of ``rows`` [K, S].

    Raises:
        ValueError: Another number of rows than clients.
    """
    if len(rows) != len(client_ids):
        raise ValueError(f"{len(client_ids)} clients need as many rows, got {len(rows)}")
    return {**memory, **{client: row.clone() for client, row in zip(client_ids, rows, strict=True)}}


def ids_where(client_ids: Sequence[int], which: Tensor) -> list[int]:
    """Return the ids of the rows of which ``which``, bool [K], is true."""
    return [client for client, there in zip(client_ids, which.tolist(), strict=True) if there]


def without(memory: ClientRows, client_ids: Sequence[int]) -> dict[int, Tensor]:
    """Return the memory without these clients; those that it does not know are no fault."""
    gone = frozenset(client_ids)
    return {client: row for client, row in memory.items() if client not in gone}
