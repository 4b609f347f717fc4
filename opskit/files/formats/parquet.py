"""Parquet: its columns' types as PostgreSQL's, its rows in batches of bounded size.

Where pgpq is installed and the columns of the table are of the types that the file asks for, the rows go through
Arrow into binary COPY; else they are written as CSV.
"""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from opskit.errors import MissingExtraError, Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.formats.parquet_sizes import FREE_BYTES, measured, parts, swelling
from opskit.files.kinds import BLOCK
from opskit.files.limits import MOST_TIMES
from opskit.files.table import Table, columns_of, readable

if TYPE_CHECKING:
    import pyarrow as pa

_JSON_TYPES = ("json", "jsonb")


def open_parquet(file: ClaimedFile, stream: BinaryIO) -> Table:
    """Typed columns; read in batches, so that a row group of any size fits.

    Raises:
        Reject: It cannot be read, or holds far more than its size justifies.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "formats") from None
    # Its own allocator keeps 30 MB that it no longer needs, and is no faster here.
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    _check_end(file, stream)
    with readable(file):
        metadata = pyarrow.parquet.read_metadata(stream)
        batch_rows, dictionaries = measured(file, metadata)
        swollen = swelling(stream, metadata, dictionaries) if dictionaries else []
        stream.seek(0)
        source = pyarrow.parquet.ParquetFile(stream, buffer_size=BLOCK, read_dictionary=swollen)
        schema = source.schema_arrow
        intervals = _intervals(metadata)
        types = ["text" if field.name in intervals else _sql_type(field.type) for field in schema]
    columns = columns_of(file, schema.names, types)
    limit = FREE_BYTES + MOST_TIMES * sum(
        metadata.row_group(n).column(c).total_compressed_size
        for n in range(metadata.num_row_groups)
        for c in range(metadata.num_columns)
    )

    def batches() -> Iterator[list[pa.Array]]:
        done = size = 0
        with readable(file):
            for batch in source.iter_batches(batch_rows, use_threads=False):
                for part in parts(file, batch):
                    arrays = [
                        _canonical(_spelled(array) if name in intervals else array, kind)
                        for name, array, kind in zip(part.schema.names, part.columns, types, strict=True)
                    ]
                    size += sum(array.nbytes for array in arrays)
                    if size > limit:
                        raise Reject(f"{file.name} unpacks to more than {limit >> 20} MB, far more than it is")
                    yield arrays
                    done += len(part)
                    file.progress(done, metadata.num_rows)
        # What lies free between the batches stays with the process else, and grows with each file.
        pyarrow.default_memory_pool().release_unused()

    return Table(
        columns=columns,
        blocks=lambda there: _as_csv(file, batches(), columns, there),
        binary=lambda there: _as_binary(file, batches(), columns, there, writable=all(map(_is_writable, schema.types))),
    )


def _check_end(file: ClaimedFile, stream: BinaryIO) -> None:
    """See that the file ends as Parquet does, where the end can be read.

    Raises:
        Reject: It does not.
    """
    if not stream.seekable():
        return
    stream.seek(max(stream.seek(0, io.SEEK_END) - 4, 0))
    end = stream.read(4)
    stream.seek(0)
    if end == b"PARE":
        raise Reject(f"{file.name} is an encrypted Parquet file; upload it without encryption")
    if end != b"PAR1":
        raise Reject(f"{file.name} is cut off or broken: it does not end as a Parquet file does; upload it again")


# -- types ---------------------------------------------------------------------------------------


def _sql_type(kind: pa.DataType) -> str:
    import pyarrow as pa
    from pyarrow import types as is_

    if isinstance(kind, pa.BaseExtensionType):
        known = {"arrow.uuid": "uuid", "arrow.json": "jsonb", "arrow.bool8": "boolean"}
        return known.get(kind.extension_name) or _sql_type(kind.storage_type)
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
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
        (is_.is_binary_view, "bytea"),
    )
    return next((name for test, name in tests if test(kind)), "text")


def _intervals(metadata: pa.parquet.FileMetaData) -> set[str]:
    """The columns of intervals, which pyarrow takes for bytes."""
    columns = map(metadata.schema.column, range(metadata.num_columns))
    return {column.path for column in columns if column.converted_type == "INTERVAL"}


def _spelled(array: pa.Array) -> pa.Array:
    """Intervals as ISO 8601 has them, of months, days and milliseconds."""
    import pyarrow as pa

    texts = []
    for value in array.to_pylist():
        months, days, milliseconds = struct.unpack("<III", value) if value is not None else (0, 0, 0)
        seconds, rest = divmod(milliseconds, 1000)
        texts.append(None if value is None else f"P{months}M{days}DT{seconds}{f'.{rest:03}' if rest else ''}S")
    return pa.array(texts, pa.string())


def _canonical(array: pa.Array, kind: str) -> pa.Array:
    """A column in the one Arrow type that stands for its PostgreSQL type; nothing of a value is lost.

    Raises:
        pa.ArrowInvalid: A value has more digits than PostgreSQL keeps: nanoseconds, say.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    uuids = kind == "uuid"
    while True:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif pa.types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        else:
            break
    if uuids:
        return array
    if kind == "jsonb" and not _is_string(array.type):
        return pa.array([as_json(value) for value in array.to_pylist()], pa.string())
    if kind == "text" and not _is_string(array.type):
        return pa.array([as_text(value) for value in array.to_pylist()], pa.string())
    if kind == "numeric":
        return array.cast(pa.decimal128(20, 0)) if pa.types.is_uint64(array.type) else array
    wanted = {
        "boolean": pa.bool_(),
        "bigint": pa.int64(),
        "double precision": pa.float64(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
        "bytea": pa.binary(),
        "text": pa.string(),
        "jsonb": pa.string(),
    }[kind]
    if array.type == wanted or (kind in ("text", "jsonb", "bytea") and "large" in str(array.type)):
        return array
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    return array.cast(wanted)


def _is_string(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


# -- binary COPY ---------------------------------------------------------------------------------


def _as_binary(
    file: ClaimedFile,
    batches: Iterable[list[pa.Array]],
    columns: Mapping[str, str],
    there: Mapping[str, str],
    *,
    writable: bool,
) -> Iterator[bytes] | None:
    """The rows for binary COPY; None where a column of the table is of another type, or pgpq cannot write it."""
    try:
        import pgpq
    except ImportError:
        return None
    if not writable or any(there.get(name, kind) != kind for name, kind in columns.items()):
        return None

    def blocks() -> Iterator[bytes]:
        import pyarrow as pa

        encoder = None
        for arrays in batches:
            with readable(file, wrong="has a date or a time that PostgreSQL cannot keep"):
                arrays = [array.cast(pa.timestamp("us")) if kind == "timestamptz" else array
                          for array, kind in zip(arrays, columns.values(), strict=True)]  # fmt: skip
                batch = pa.RecordBatch.from_arrays(arrays, names=[f"c{n}" for n in range(len(arrays))])
                if encoder is None:
                    encoder = pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(
                        batch.schema, _encoders(batch.schema, columns.values())
                    )
                    yield encoder.write_header()
                yield encoder.write_batch(batch)
        if encoder is not None:
            yield encoder.finish()

    return blocks()


def _is_writable(kind: pa.DataType) -> bool:
    """Whether pgpq writes a type exactly; not numbers of more than 38 digits, nor those that end before the point."""
    import pyarrow as pa

    while pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    return not pa.types.is_decimal256(kind) and not (pa.types.is_decimal(kind) and kind.scale < 0)


def _encoders(schema: pa.Schema, kinds: Iterable[str]) -> dict[str, Any]:
    import pgpq
    from pgpq import encoders
    from pgpq.schema import Jsonb

    found = {}
    for field, kind in zip(schema, kinds, strict=True):
        found[field.name] = pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(field)
        if kind == "jsonb":
            make = encoders.LargeStringEncoderBuilder if "large" in str(field.type) else encoders.StringEncoderBuilder
            found[field.name] = make.new_with_output(field, Jsonb())
    return found


# -- CSV -----------------------------------------------------------------------------------------


def _as_csv(
    file: ClaimedFile, batches: Iterable[list[pa.Array]], columns: Mapping[str, str], there: Mapping[str, str]
) -> Iterator[bytes]:
    import pyarrow
    import pyarrow.csv

    options = pyarrow.csv.WriteOptions(include_header=False)
    for arrays in batches:
        with readable(file):
            written = [
                _as_written(array, kind, there.get(name, kind))
                for array, (name, kind) in zip(arrays, columns.items(), strict=True)
            ]
            target = io.BytesIO()
            pyarrow.csv.write_csv(pyarrow.table(written, names=list(columns)), target, options)
        yield target.getvalue()


def _as_written(array: pa.Array, kind: str, there: str) -> pa.Array:
    """A column as pyarrow can write it to CSV and PostgreSQL can read it."""
    import pyarrow as pa

    if kind == "uuid":
        texts = [None if value is None else value.hex() for value in array.to_pylist()]
    elif kind == "bytea":
        texts = [None if value is None else rf"\x{value.hex()}" for value in array.to_pylist()]
    elif there in _JSON_TYPES and kind != "jsonb":
        return pa.array([as_json(value) for value in array.to_pylist()], pa.string())
    else:
        return array
    if there in _JSON_TYPES:
        texts = [None if text is None else json.dumps(text) for text in texts]
    return pa.array(texts, pa.string())


# -- single values -------------------------------------------------------------------------------


def as_text(value: Any) -> str | None:
    """A value as text."""
    return None if value is None else str(value)


def as_json(value: Any) -> str | None:
    """A value as JSON with all its digits; None is NULL."""
    return None if value is None else _json(value)


def _json(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'"{json.dumps(value)}"'
    if isinstance(value, (int, decimal.Decimal)):
        return str(value) if value == value else '"NaN"'
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(f"{json.dumps(str(key), ensure_ascii=False)}: {_json(one)}" for key, one in value.items())
            + "}"
        )
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return "[" + ", ".join(map(_json, value)) + "]"
    if isinstance(value, (bytes, bytearray)):
        return json.dumps(rf"\x{value.hex()}")
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return json.dumps(value.isoformat())
    return json.dumps(str(value), ensure_ascii=False)
