"""A folder of odd files: each is read as it is meant, or refused in a sentence that an uploader understands."""

from __future__ import annotations

import pytest

from opskit.errors import Reject
from tests.support.loads import Connection, Load, rows_of, tables
from tests.support.odd_folder import LOADED, REFUSED


@pytest.mark.slow
def test_every_file_of_an_odd_folder_is_loaded_right_or_refused_in_its_sentence(
    connection: Connection, load: Load
) -> None:
    for name, (content, sentence) in REFUSED.items():
        with pytest.raises(Reject) as caught:
            load(name, content)
        print(caught.value)
        said = str(caught.value)
        assert said.startswith(name)
        assert sentence in said
        assert "\n" not in said
        assert len(said) < 300
    assert tables(connection) == []
    for name, (content, rows) in LOADED.items():
        assert rows_of(connection, load(name, content, mode="replace")) == rows, name
