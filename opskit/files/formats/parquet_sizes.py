"""Sizes of Parquet: what a file declares, what its dictionaries unpack to, and batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.kinds import BLOCK
from opskit.files.limits import LONGEST_RECORD, MOST_COLUMNS, MOST_TIMES

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_ROWS = 1 << 13
_BATCH_BYTES = 1 << 21
_PART_BYTES = 1 << 23
FREE_BYTES = 1 << 26
"""What a file may become in any case [bytes]."""
_FREE_ROWS, _ROWS_A_BYTE = 1 << 21, 100
_DEEPEST = 60


def measured(file: ClaimedFile, metadata: pa.parquet.FileMetaData) -> tuple[int, list[str]]:
    """How many rows to read at once, and which columns to read as dictionaries.

    Raises:
        Reject: The file promises far more than its size justifies.
    """
    if metadata.num_columns > 8 * MOST_COLUMNS:
        raise Reject(f"{file.name} has more columns than a table can have, {MOST_COLUMNS}")
    packed = unpacked = 0
    heaviest = 1.0
    dictionaries: set[str] = set()
    nested = False
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        in_group = 0
        for place in range(group.num_columns):
            chunk = group.column(place)
            packed += chunk.total_compressed_size
            in_group += chunk.total_uncompressed_size
            if chunk.physical_type == "BYTE_ARRAY" and any("DICTIONARY" in encoding for encoding in chunk.encodings):
                dictionaries.add(chunk.path_in_schema)
        unpacked += in_group
        heaviest = max(heaviest, in_group / max(group.num_rows, 1))
    for place in range(metadata.num_columns):
        column = metadata.schema.column(place)
        nested = nested or column.max_repetition_level > 0
        if column.max_definition_level > _DEEPEST:
            raise Reject(f"{file.name} is nested more than {_DEEPEST} levels deep")
    if metadata.num_rows > _FREE_ROWS + _ROWS_A_BYTE * packed:
        raise Reject(f"{file.name} promises {metadata.num_rows} rows, far more than it can hold")
    limit = FREE_BYTES + MOST_TIMES * packed
    if max(unpacked, metadata.num_rows * metadata.num_columns) > limit:
        raise Reject(f"{file.name} unpacks to more than {limit >> 20} MB, far more than it is")
    most = _MOST_ROWS if not nested else 1 << 10
    return max(1, min(most, int(_BATCH_BYTES / heaviest))), sorted(dictionaries)


def swelling(stream: BinaryIO, metadata: pa.parquet.FileMetaData, paths: list[str]) -> list[str]:
    """The columns of which a dictionary would become far more than the file when it is written out.

    Only these are read as dictionaries: a column whose writer has given its dictionary up takes six times as long so.
    The first row of each row group shows its dictionaries.
    """
    import pyarrow.parquet

    stream.seek(0)
    probe = pyarrow.parquet.ParquetFile(stream, buffer_size=BLOCK, read_dictionary=paths)
    found: set[str] = set()
    for number in range(metadata.num_row_groups):
        batch = next(probe.iter_batches(1, row_groups=[number], use_threads=False), None)
        if batch is None:
            continue
        longest = {name: _longest(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            chunk = group.column(place)
            length = max(
                (n for name, n in longest.items() if f"{chunk.path_in_schema}.".startswith(f"{name}.")), default=0
            )
            if length * chunk.num_values > FREE_BYTES + 8 * chunk.total_uncompressed_size:
                found.add(chunk.path_in_schema)
    return sorted(found & set(paths))


def _longest(array: pa.Array) -> int:
    """The length of the longest text in the dictionaries of an array, those of nested values too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_, kind = pa.types, array.type
    if is_.is_dictionary(kind):
        values = array.dictionary
        sized = is_.is_string(values.type) or is_.is_binary(values.type) or "large" in str(values.type)
        return int(pc.max(pc.binary_length(values)).as_py() or 0) if sized else 0
    if is_.is_struct(kind):
        return max(map(_longest, array.flatten()), default=0)
    if is_.is_map(kind):
        return max(_longest(array.keys), _longest(array.items))
    if is_.is_list(kind) or is_.is_large_list(kind):
        return _longest(array.values)
    return 0


def parts(file: ClaimedFile, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in parts that stay small when their dictionaries are written out.

    Raises:
        Reject: A single row is too large.
    """
    weight = sum(map(_weight, batch.columns))
    if weight > _PART_BYTES and len(batch) > 1:
        half = len(batch) // 2
        yield from parts(file, batch.slice(0, half))
        yield from parts(file, batch.slice(half))
    elif weight > LONGEST_RECORD:
        raise Reject(f"{file.name} has a row of more than {LONGEST_RECORD >> 20} MB")
    else:
        yield batch


def _weight(array: pa.Array) -> int:
    """How many bytes an array has when its dictionaries are written out, those of nested values too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_, kind = pa.types, array.type
    if is_.is_dictionary(kind):
        values = array.dictionary
        if not (is_.is_string(values.type) or is_.is_binary(values.type) or "large" in str(values.type)):
            return int(array.indices.nbytes)
        return int(pc.sum(pc.take(pc.binary_length(values), array.indices)).as_py() or 0) + int(array.indices.nbytes)
    if is_.is_map(kind):
        start, end = array.offsets[0].as_py(), array.offsets[len(array)].as_py()
        return sum(_weight(part.slice(start, end - start)) for part in (array.keys, array.items)) + len(array)
    if is_.is_struct(kind) or is_.is_list(kind) or is_.is_large_list(kind):
        parts = array.flatten()
        return sum(map(_weight, parts if is_.is_struct(kind) else [parts])) + len(array)
    return int(array.nbytes)
