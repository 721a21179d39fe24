"""Nodes of Flower's that run a client app in this process: what a server app asks of its grid."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity


@dataclass(frozen=True)
class Nodes:
    """A grid of ``count`` nodes, of which each holds one partition."""

    client: ClientApp
    count: int

    def get_node_ids(self) -> list[int]:
        return [1000 + partition for partition in range(self.count)]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        held = {"partition-id": node - 1000, "num-partitions": self.count}
        return self.client(message, Context(0, node, held, RecordDict(), {}))


def serve(server, client: ClientApp, count: int, config: dict) -> None:
    """Run a server app over nodes of its client app, configured as a run of Flower would be."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_task_id", "_run_id", "_node_id"):  # which a process of Flower's is told
            patch.setattr(TaskIdentity, name, 1)
        server(Nodes(client, count), Context(1, 1, {}, RecordDict(), config))
