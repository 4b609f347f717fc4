"""Copies of the notebooks: where they go, what is kept, what an upgrade changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from opskit import jupyter
from opskit.cli import main
from opskit.errors import MissingExtraError, OpskitError
from opskit.jupyter import notebooks
from tests.support.notebooks import NAMES, ROOT, code_cells

# -- taking them out and opening them --------------------------------------------------------


def test_copies_are_made_where_asked_and_work_of_ones_own_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a new" / "folder"

    written = jupyter.copy(target)

    assert [path.name for path in written] == [f"{name}.ipynb" for name in NAMES]
    assert all(path.read_bytes() == (ROOT / "notebooks" / path.name).read_bytes() for path in written)
    written[0].write_text("mine")
    written[1].unlink()
    assert jupyter.copy(target) == [written[1]]
    assert written[0].read_text() == "mine"
    assert jupyter.copy(target, overwrite=True) == written
    assert written[0].read_text() != "mine"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OpskitError, match=r"^the notebooks cannot be copied to '.*file/x': Not a directory$"):
        jupyter.copy(tmp_path / "file" / "x")
    with pytest.raises(OpskitError, match="is where the notebooks come from"):
        jupyter.copy(notebooks.FOLDER, overwrite=True)


def test_without_jupyterlab_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=re.escape("pip install 'opskit[notebooks]'")):
        jupyter.open_lab(tmp_path / "new")

    assert not (tmp_path / "new").exists()


def test_jupyterlab_is_opened_on_the_copies_with_the_database_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jupyterlab").mkdir()
    (tmp_path / "jupyterlab" / "__init__.py").touch()
    (tmp_path / "jupyterlab" / "__main__.py").write_text(
        "import json, os, pathlib, sys\n"
        "names = ('OPSKIT_HOME', 'OPSKIT_ENV', 'PLOTLY_RENDERER')\n"
        "said = {'folder': sys.argv[1], 'rest': sys.argv[2:], **{name: os.environ[name] for name in names}}\n"
        "(pathlib.Path(sys.argv[1]) / 'said.json').write_text(json.dumps(said))\n"
        "sys.exit(7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    given = ["notebooks", "work", "--open", "--env", "production", "--", "--no-browser", "--ip", "0.0.0.0"]
    code = main.main(given)

    said = json.loads((tmp_path / "work" / "said.json").read_text())
    assert code == 7
    assert said == {
        "folder": "work",
        "rest": [*(["--allow-root"] if os.geteuid() == 0 else []), "--no-browser", "--ip", "0.0.0.0"],
        "OPSKIT_HOME": str(tmp_path / ".opskit"),
        "OPSKIT_ENV": "production",
        "PLOTLY_RENDERER": "plotly_mimetype",
    }
    assert (tmp_path / "work" / f"{NAMES[0]}.ipynb").exists()


def test_notebooks_that_an_upgrade_changed_are_told_and_outputs_do_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jupyter.copy(tmp_path)
    ran = nbformat.read(tmp_path / "02_verification.ipynb", as_version=4)
    code_cells(ran)[0].outputs = [nbformat.v4.new_output("stream", text="ran")]
    nbformat.write(ran, tmp_path / "02_verification.ipynb")
    assert jupyter.differing(tmp_path) == []
    text = (tmp_path / "01_migration.ipynb").read_text().replace("# ", "# of before: ", 1)
    (tmp_path / "01_migration.ipynb").write_text(text)

    assert main.main(["notebooks", str(tmp_path)]) == 0

    said = capsys.readouterr().err
    assert "not as this version has them: 01_migration.ipynb; --overwrite" in said
    assert "02_verification" not in said
    assert jupyter.copy(tmp_path, overwrite=True)
    assert jupyter.differing(tmp_path) == []


@pytest.mark.slow
def test_a_renderer_that_somebody_chose_is_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import os, opskit.jupyter; print(os.environ['PLOTLY_RENDERER'])"],
        env={**os.environ, "PLOTLY_RENDERER": "svg"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "svg\n"


def test_the_shells_verb_copies_the_notebooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main.main(["notebooks"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "7 notebooks copied to notebooks"
    assert main.main(["notebooks", "notebooks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": "notebooks", "copied": [], "differing": []}
    assert sorted(path.name for path in (tmp_path / "notebooks").iterdir()) == [f"{name}.ipynb" for name in NAMES]


def test_words_for_a_jupyterlab_that_is_not_opened_are_refused_before_anything_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main.main(["notebooks", "work", "--", "--no-browser"]) == 1
    assert capsys.readouterr().err == (
        "opskit: '--no-browser' is JupyterLab's, which is not opened; add --open before --\n"
    )
    assert not (tmp_path / "work").exists()


def test_the_wheel_carries_the_notebooks() -> None:
    import tomllib

    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel["force-include"]["notebooks"] == "opskit/_notebooks"
    assert shutil.which("jupyter-lab") or notebooks.FOLDER == ROOT / "notebooks"
