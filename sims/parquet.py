"""Parquet tables from bytes that were read and checked before."""

import pyarrow as pa
import pyarrow.parquet as pq

_SMALL = 1 << 20
"""Bytes up to which one thread is faster than several."""


def table_of(content: bytes) -> pa.Table:
    """Return the table that ``content`` is.

    The bytes are copied into memory of Arrow's own: one of its threads may let go of them after this returns,
    and were they Python's, a command that ends at that moment would be aborted.

    Raises:
        pa.ArrowException: It is none.
    """
    sink = pa.BufferOutputStream()
    sink.write(content)
    return pq.ParquetFile(pa.BufferReader(sink.getvalue())).read(use_threads=len(content) > _SMALL)
