"""What clients remember comes back from its files; whatever else lies there is refused in one line."""

from hashlib import blake2b

import pytest
import torch
from safetensors.torch import save

from gauntlet.core.errors import CheckpointError
from gauntlet.server.checkpoint.memory_files import load_rows

NAME = "clients-000003.safetensors"
GOOD = {
    "ids": torch.tensor([4, 7]),
    "counted": torch.tensor([1, 2]),
    "rows": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
}


def forged(folder, tensors, name=NAME):
    """Write a file, and list it with a digest that fits: whoever forges one forges the other."""
    content = save(tensors)
    (folder / NAME).write_bytes(content)
    return [[name, blake2b(content, digest_size=32).hexdigest(), 2]]


def test_rows_come_back_by_client(tmp_path):
    rows, counted = load_rows(tmp_path, forged(tmp_path, GOOD))

    assert {client: row.tolist() for client, row in rows.items()} == {4: [1.0, 2.0], 7: [3.0, 4.0]}
    assert counted == {4: 1, 7: 2}


@pytest.mark.parametrize("name", ["/dev/zero", "../clients-000003.safetensors", "key", 3, None])
def test_no_other_file_is_read_than_one_of_rows(tmp_path, name):
    with pytest.raises(CheckpointError, match=r"^[^\n]* is no file of rows, expected clients-NNNNNN[^\n]*$"):
        load_rows(tmp_path, forged(tmp_path, GOOD, name))


@pytest.mark.parametrize(
    "change",
    [
        {"ids": torch.tensor([4])},
        {"ids": torch.tensor([-4, 7])},
        {"ids": torch.tensor([4.0, 7.0])},
        {"counted": torch.tensor([[1, 2]])},
        {"rows": torch.tensor([1.0, 2.0])},
        {"rows": torch.tensor([[1, 2], [3, 4]])},
        {"more": torch.tensor([1])},
    ],
)
def test_what_is_no_row_and_round_a_client_is_refused(tmp_path, change):
    with pytest.raises(CheckpointError, match=r"^[^\n]* does not hold one row and one round a client$"):
        load_rows(tmp_path, forged(tmp_path, GOOD | change))


def test_a_turned_bit_is_refused(tmp_path):
    listed = forged(tmp_path, GOOD)
    content = bytearray((tmp_path / NAME).read_bytes())
    content[-1] ^= 1
    (tmp_path / NAME).write_bytes(content)

    with pytest.raises(CheckpointError, match="is damaged: its digest does not fit"):
        load_rows(tmp_path, listed)
