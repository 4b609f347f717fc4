"""Parquet: its columns' types as PostgreSQL's, its rows in batches."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from opskit.errors import MissingExtraError
from opskit.files.claimed import ClaimedFile
from opskit.files.kinds import BLOCK
from opskit.files.table import ROWS_PER_BLOCK, Table, as_json, as_text, columns_of, readable

if TYPE_CHECKING:
    import pyarrow as pa


def open_parquet(file: ClaimedFile, stream: io.BufferedReader) -> Table:
    """Typed columns; read in batches, so that a row group of any size fits."""
    try:
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "formats") from None
    with readable(file):
        source = pyarrow.parquet.ParquetFile(stream, buffer_size=BLOCK)
        schema = source.schema_arrow
    types = [_sql_type(field.type) for field in schema]

    def blocks() -> Iterator[bytes]:
        options = pyarrow.csv.WriteOptions(include_header=False)
        done = 0
        with readable(file):
            for batch in source.iter_batches(ROWS_PER_BLOCK, use_threads=False):
                arrays = [_as_written(array, kind) for array, kind in zip(batch.columns, types, strict=True)]
                target = io.BytesIO()
                pyarrow.csv.write_csv(pyarrow.table(arrays, names=list(columns)), target, options)
                yield target.getvalue()
                done += len(batch)
                file.progress(done, source.metadata.num_rows)

    columns = columns_of(file, schema.names, types)
    return Table(columns=columns, blocks=blocks())


def _sql_type(kind: pa.DataType) -> str:
    from pyarrow import types as is_

    if is_.is_dictionary(kind):
        return _sql_type(kind.value_type)
    if is_.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    tests: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (is_.is_boolean, "boolean"),
        (is_.is_uint64, "numeric"),
        (is_.is_integer, "bigint"),
        (is_.is_floating, "double precision"),
        (is_.is_decimal, "numeric"),
        (is_.is_date, "date"),
        (is_.is_time, "time"),
        (is_.is_nested, "jsonb"),
        (is_.is_binary, "bytea"),
        (is_.is_large_binary, "bytea"),
        (is_.is_fixed_size_binary, "bytea"),
    )
    return next((name for test, name in tests if test(kind)), "text")


def _as_written(array: pa.Array, kind: str) -> pa.Array:
    """A column as pyarrow can write it to CSV and PostgreSQL can read it."""
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind == "jsonb":
        return pa.array([as_json(value) for value in array.to_pylist()], pa.string())
    if kind == "bytea":
        return pa.array([None if value is None else rf"\x{value.hex()}" for value in array.to_pylist()], pa.string())
    if pa.types.is_float16(array.type):
        return array.cast(pa.float32())
    if kind == "text" and not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return pa.array([as_text(value) for value in array.to_pylist()], pa.string())
    return array
