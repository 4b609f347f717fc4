"""The processor `load_table`: a file's rows into a table of PostgreSQL, in one transaction with its completion."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from opskit.errors import Reject, SettingError
from opskit.files import typed_columns
from opskit.files.claimed import ClaimedFile
from opskit.files.readers import Reading, open_table
from opskit.files.sql_names import loaded_name
from opskit.files.table import LateColumnError, Table
from opskit.files.text import SAVE_AS_UTF_8

if TYPE_CHECKING:
    Connection = psycopg.Connection[dict[str, Any]]

MODES = ("append", "replace", "refuse")
_DEFAULT_FILES_TABLE = "uploaded_files"
_REFUSED = ("22", "54")  # classes of SQLSTATE that speak of the data, or of their size
_SHORT = {
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    "character varying": "text",
}


def load_table(
    file: ClaimedFile,
    *,
    table: str = "",
    schema: str = "",
    mode: str = "append",
    typed: bool | str = False,
    sheet: str = "",
    delimiter: str = "",
    encoding: str = "",
) -> dict[str, Any]:
    """Load a CSV, TSV, JSON lines, Parquet or Excel file into a PostgreSQL table, each row exactly once.

    The table is named for the file: "loaded_sales" for sales.csv, with the environment's prefix. It is made
    when it is missing, and given the columns that it lacks; a file of the same name adds its rows, and
    `_file_id` says which file a row came from. Rows and completion commit together, or neither. A file that is
    loaded again, after a requeue, takes the place of its own rows.

    CSV and TSV are text columns, an empty field is NULL, and their bytes go to COPY as they are. JSON lines are text,
    jsonb where a value is nested; a sheet of Excel is text; Parquet keeps its types. A column that is there keeps its
    type: values go into it, or the file is rejected. docs/howto/loading.md says what is decided where a format is open.

    Args:
        file: The claimed file.
        table: The table's name, which the environment's prefix goes before. Defaults to "loaded_" and the file's name.
        schema: The schema of the table. Defaults to the first of the search path.
        mode: "append" adds rows; "replace" deletes all that are in the table; "refuse" rejects the file when others
            are. Defaults to "append".
        typed: Give new text columns the type that all their values have: bigint, numeric, boolean, date or timestamp.
            Defaults to text.
        sheet: Name of a workbook's sheet. Defaults to the first that is not hidden.
        delimiter: What separates a CSV file's fields. Defaults to what its header and rows say.
        encoding: Encoding of a text without a byte order mark. Defaults to OPSKIT_TEXT_ENCODING.

    Returns:
        "table", "rows" (how many were loaded) and "columns" (their names in the table); "delimiter", "sheet",
        "other_sheets", "types" and the like where something was decided.

    Raises:
        Reject: The file is no table, or a broken one; the sentence names the line where it is known.
        ClaimLostError: Somebody else has the file now; nothing was written.
        MissingExtraError: A library of opskit[formats] is needed.
        SettingError: An option has a value that cannot be used.
    """
    if mode not in MODES:
        raise SettingError(f"mode is {mode!r}; it must be {', '.join(MODES[:-1])} or {MODES[-1]}")
    reading = Reading(delimiter=delimiter, encoding=encoding, sheet=sheet)
    name = file.table_prefix + table if table else table_name(file)
    with open_table(file, reading) as found, file.completing() as connection:
        target = sql.Identifier(schema, name) if schema else sql.Identifier(name)
        # A load takes as long as it takes: the node watches its progress, a statement timeout cannot.
        connection.execute(
            "SELECT set_config('opskit.file_id', %s, true), set_config('statement_timeout', '0', true)",
            (file_id(file),),
        )
        load = _Load(connection, file, target, name=name, mode=mode, typed=_is_on(typed))
        if found.whole is None:
            said = load.table(found)
        else:
            try:
                with connection.transaction():
                    said = load.table(found)
            except LateColumnError:
                # Nothing of the first try is left: neither rows nor columns nor locks.
                said = load.table(found.whole())
    return {"table": f"{schema}.{name}" if schema else name} | said


class _Load:
    """Loads one file into one table, within a transaction."""

    def __init__(
        self,
        connection: Connection,
        file: ClaimedFile,
        target: sql.Identifier,
        *,
        name: str,
        mode: str,
        typed: bool,
    ) -> None:
        self._connection, self._file, self._target = connection, file, target
        self._name, self._mode, self._typed = name, mode, typed
        self._is_named = False

    def table(self, found: Table) -> dict[str, Any]:
        """Copy the rows; how many, their columns, and what was decided.

        Raises:
            Reject: PostgreSQL refuses a value.
            LateColumnError: There are other columns than the table says.
        """
        connection, columns = self._connection, found.columns
        stage = typed_columns.STAGE if self._typed and found.binary is None else None
        if stage is not None:
            there = columns | _types(connection, self._target)
            typed_columns.make_stage(connection, columns)
        else:
            there = self._provide(columns)
        binary = found.binary(there) if found.binary else None
        is_binary = binary is not None
        try:
            rows = _copy(connection, stage or self._target, found, binary or found.blocks(there), is_binary=is_binary)
            if stage is not None:
                columns = typed_columns.types_of_values(connection, columns)
                there = self._provide(columns)
                types = {name: there[name] for name in columns}
                rows = typed_columns.insert_from_stage(connection, self._target, types)
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _REFUSED:
                raise
            name = self._name if stage is None else "opskit_loading"
            raise _rejection(self._file, found, there, error, name=name, is_binary=is_binary) from None
        if self._is_named:
            _name_each_file(connection, self._target)
        types_told = {"types": columns} if stage is not None else {}
        return {"rows": rows, "columns": list(columns)} | found.said | types_told

    def _provide(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Make the table ready; the type of each of its columns."""
        there, self._is_named = _provide(self._connection, self._target, columns, file_id(self._file))
        _make_room(self._connection, self._file, self._target, self._mode)
        return there


def _is_on(value: bool | str) -> bool:
    """Whether an option is on; as text when it stands in the processor's name."""
    text = str(value).lower()
    if text not in ("1", "true", "yes", "on", "", "0", "false", "no", "off"):
        raise SettingError(f"typed is {value!r}; it must be 1 or 0")
    return text in ("1", "true", "yes", "on")


def table_name(file: ClaimedFile) -> str:
    """The table that `load_table` loads a file into."""
    return loaded_name(file.name, file.table_prefix)


def file_id(file: ClaimedFile) -> str:
    """What says in a row which file it came from: its id, with the files table where that is another than usual.

    Two files tables may load into one table, and ids of theirs are alike.
    """
    return file.id if file.files_table == _DEFAULT_FILES_TABLE else f"{file.files_table}:{file.id}"


def _provide(
    connection: Connection, table: sql.Identifier, columns: Mapping[str, str], file_id: str
) -> tuple[dict[str, str], bool]:
    """Make the table, or add the columns that it lacks; nothing, and no lock, when all is there.

    Returns:
        The type of each column of the file, as it is in the table now; and whether the table names this one file for
        every new row, until `_name_each_file` is called.
    """
    wanted = {"_file_id": "text", **columns}
    if not _missing(wanted, there := _types(connection, table)):
        return there, False
    # Two nodes that make the same table would trip over each other, IF NOT EXISTS or not.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (table.as_string(connection),))
    there = _types(connection, table)
    if not (missing := _missing(wanted, there)):
        return there, False
    connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ()").format(table))
    additions = (
        sql.SQL("ADD COLUMN IF NOT EXISTS {} {}").format(sql.Identifier(column), sql.SQL(kind))
        for column, kind in missing.items()
    )
    connection.execute(sql.SQL("ALTER TABLE {} {}").format(table, sql.SQL(", ").join(additions)))
    # What has a trigger cannot be altered again after its rows.
    named = not there and not _has_triggers(connection, table)
    if named:
        # Nobody else sees the table yet: to ask the setting for each row would take a tenth of the load.
        default = sql.SQL("ALTER TABLE {} ALTER COLUMN _file_id SET DEFAULT {}")
        connection.execute(default.format(table, sql.Literal(file_id)))
    elif "_file_id" in missing:
        _name_each_file(connection, table)
    return _types(connection, table), named


def _missing(wanted: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str]:
    return {name: kind for name, kind in wanted.items() if name not in there}


def _name_each_file(connection: Connection, table: sql.Identifier) -> None:
    """Have the table note with each new row which file it came from.

    A step of its own: given with the column, the default would name this file in rows that were there before.
    """
    default = "ALTER TABLE {} ALTER COLUMN _file_id SET DEFAULT current_setting('opskit.file_id', true)"
    connection.execute(sql.SQL(default).format(table))


def _has_triggers(connection: Connection, table: sql.Identifier) -> bool:
    query = "SELECT relhastriggers FROM pg_class WHERE oid = to_regclass(%s)"
    return any(row["relhastriggers"] for row in connection.execute(query, (table.as_string(connection),)))


def _types(connection: Connection, table: sql.Identifier) -> dict[str, str]:
    rows = connection.execute(
        "SELECT attname, atttypid::regtype::text AS kind FROM pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        (table.as_string(connection),),
    )
    return {str(row["attname"]): _SHORT.get(row["kind"], str(row["kind"])) for row in rows}


def _make_room(connection: Connection, file: ClaimedFile, table: sql.Identifier, mode: str) -> None:
    """Delete the rows that the file takes the place of, or refuse it when there are others."""
    if mode != "append":
        # Readers go on; two files cannot both find the table empty.
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
    if mode == "replace":
        connection.execute(sql.SQL("DELETE FROM {}").format(table))
        return
    if file.attempt > 1:
        connection.execute(sql.SQL("DELETE FROM {} WHERE _file_id = %s").format(table), (file_id(file),))
    if mode == "refuse" and connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(table)).rowcount:
        raise Reject(f"{file.name} is refused: {table.as_string(connection)} has rows already")


def _copy(
    connection: Connection, target: sql.Identifier, table: Table, blocks: Iterable[bytes], *, is_binary: bool
) -> int:
    how: sql.Composable = sql.SQL("FORMAT binary")
    if not is_binary:
        how = sql.SQL("FORMAT csv, HEADER {}, DELIMITER {}, ENCODING 'UTF8'").format(
            sql.SQL("true" if table.header else "false"), sql.Literal(table.delimiter)
        )
    statement = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(
        target, sql.SQL(", ").join(map(sql.Identifier, table.columns)), how
    )
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for block in blocks:
                copy.write(block)
        return cursor.rowcount


def _rejection(
    file: ClaimedFile, table: Table, there: Mapping[str, str], error: psycopg.Error, *, name: str, is_binary: bool
) -> Reject:
    # The context is in the server's language, the number in any; the table's name may hold one, too.
    found = re.search(r"\d+", (error.diag.context or "").partition(name)[2])
    place = f", {table.where(int(found[0]), there, binary=is_binary)}" if found else ""
    # A column's name and a value are in it as they are in the file, line breaks too.
    what, why = (" ".join((text or "").split()) for text in (error.diag.message_primary, error.diag.message_detail))
    hint = ""
    if error.sqlstate == "22P04" and table.header:  # a row of CSV that is none
        hint = f"; the header has {len(table.columns)} field{'s' if len(table.columns) != 1 else ''}"
    if error.sqlstate == "22021":  # a byte sequence that is no character of UTF-8, or NUL
        is_nul = "0x00" in what
        hint = " (the character NUL, which PostgreSQL does not keep)" if is_nul else f"; {SAVE_AS_UTF_8}"
    return Reject(f"{file.name}{place}: {what[:300]}{f': {why[:200]}'.removesuffix('.') if why else ''}{hint}")
