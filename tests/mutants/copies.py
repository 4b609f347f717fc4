"""A copy of the tree in which mutants are tried, so that the tree itself is never changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

from tests.mutants.kept import ROOT, Mutant

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".opskit", "dist", "build", "site", "node_modules")


class Copy:
    """A copy of the tree with an environment of its own.

    Its Python finds `opskit` in the copy, and everything else where this Python finds it; so do the programs that tests
    start, whatever environment they give them.
    """

    def __init__(self, folder: Path, of: Path = ROOT) -> None:
        self.root = folder / "tree"
        shutil.copytree(of, self.root, ignore=_LEFT_OUT, symlinks=True)
        self._python = self._make_environment(self.root / ".venv")

    def _make_environment(self, folder: Path) -> Path:
        """Make it, and return its Python."""
        venv.create(folder, symlinks=True)
        own = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        packages = sysconfig.get_path("purelib")
        (own / "copy.pth").write_text(f"{self.root}\nimport site; site.addsitedir({packages!r})\n")
        here = Path(sys.executable).parent
        python = folder / "bin" / "python"
        for program in here.iterdir():
            there = folder / "bin" / program.name
            if there.exists() or not program.is_file():
                continue
            content = program.read_bytes()
            if content.startswith(b"#!") and b"python" in content.split(b"\n", 1)[0]:
                there.write_bytes(b"#!" + os.fsencode(python) + b"\n" + content.split(b"\n", 1)[1])
                there.chmod(0o755)
            else:
                there.symlink_to(program)
        return python

    def where_opskit_is(self) -> Path:
        """Where a program that is started in another folder, with nothing in its environment, finds the package."""
        asked = subprocess.run(
            [self._python, "-c", "import opskit; print(opskit.__file__)"],
            cwd="/",
            env={},
            capture_output=True,
            text=True,
            check=True,
        )
        return Path(asked.stdout.strip()).parent

    @contextlib.contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """Apply a mutant for a while."""
        path = self.root / mutant.file
        original, times = path.read_text(encoding="utf-8"), path.stat()
        path.write_text(mutant.applied(original), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(original, encoding="utf-8")
            # Its compiled form is known by time and size: with its own time again the mutant's form is no longer valid.
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def compile(self, tests: list[str]) -> None:
        """Keep the compiled forms of the package and of test files: else each run compiles what it loads."""
        files = sorted({test.partition("::")[0] for test in tests})
        loud = {"cwd": self.root, "env": self._environ(), "check": True, "stdout": subprocess.DEVNULL}
        subprocess.run([self._python, "-m", "compileall", "-q", "opskit", "tests"], **loud)
        subprocess.run([self._python, "-m", "pytest", "--collect-only", "-q", *plugins(), *files], **loud)

    def nursery(self) -> subprocess.Popen[str]:
        """Start what runs tests in this copy, and wait until it has loaded the package as it is: see `nursery.py`."""
        started = subprocess.Popen(
            [self._python, "tests/mutants/nursery.py"],
            cwd=self.root,
            # Of two mutants of one second and one size, the first's compiled form would be taken for the second's.
            env=self._environ() | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert started.stdout is not None
        if started.stdout.readline() != "ready\n":
            raise RuntimeError(f"nothing runs tests in {self.root}")
        return started

    def _environ(self) -> dict[str, str]:
        left_out = ("PYTEST_ADDOPTS", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
        return {name: value for name, value in os.environ.items() if name not in left_out} | {
            "PATH": f"{self._python.parent}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self._python.parents[1]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }


def plugins() -> list[str]:
    """The plugins that the tests use, for pytest's command line; loading the others takes longer than most tests."""
    wanted = ("pytest_timeout", "pytest_rerunfailures", "opskit.files.pytest_plugin", "no:cacheprovider")
    return [word for plugin in wanted for word in ("-p", plugin)]


def arguments(tests: tuple[str, ...], leaving_out: str = "", *, folder: Path) -> list[str]:
    """What pytest is told: to run tests of the fast set, up to the first that fails.

    Their temporary files have a folder of their own: to clear away what other runs left behind may fail. A test that
    fails once more when it is run again has not failed because the machine was busy.
    """
    return [
        "-x", "-q", "--reruns", "1", "--tb=short", "-rfE", "-m", "not slow and not browser", f"--basetemp={folder}",
        *(("-k", f"not ({leaving_out})") if leaving_out else ()), *plugins(), *tests,
    ]  # fmt: skip
