"""A program that the fork server starts is the program that a real start gives: what it sees, says and ends with."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import python_programs
from tests.support.python_programs import Program

Done = subprocess.CompletedProcess[bytes]
Both = Callable[..., list[Done]]

SEEN = {
    "arguments": "print(sys.argv, sys.orig_argv, sys.executable, sys.flags, sys._xoptions, sys.warnoptions)",
    "path": "print(sys.path, sys.prefix)",
    "folder": "print(os.getcwd(), os.stat('.').st_ino)",
    "environment": "print(sorted(os.environ.items()))",
    "C's environment": "print(sorted(subprocess.check_output('env').splitlines()))",
    "signals": "print({number: signal.getsignal(number) for number in signal.valid_signals()})",
    "signals of the kernel": "print([line for line in open('/proc/self/status') if line.startswith('Sig')])",
    "parent": "print(os.getppid())",
    "session": "print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid())",
    "group": "print(os.getpgid(0) == os.getpgid(os.getppid()))",
    "descriptors": "print(sorted(os.listdir('/proc/self/fd')), [os.get_inheritable(n) for n in range(3)])",
    "limits": "print([resource.getrlimit(n) for n in range(10)], os.umask(0), os.nice(0), os.getgroups())",
    "main": "print({name: str(value).partition(' at ')[0] for name, value in vars(sys.modules['__main__']).items()})",
    "threads": "print(threading.enumerate()[0].name, threading.main_thread() is threading.current_thread(),"
    " threading.get_native_id() == os.getpid(), threading.active_count())",
    "clock and language": "print(time.tzname, locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding())",
    "collector": "print(gc.isenabled(), gc.get_threshold(), gc.get_debug())",
    "warnings": "print([each[:3] for each in warnings.filters])",
    "loggers": "print(logging.root.handlers, logging.root.level, logging.getLogger('opskit').handlers)",
    "tests": "print([name for name in sys.modules if name.startswith('tests') or 'fork_server' in name])",
}
STREAMS = {
    "streams": """for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream, type(stream.buffer), stream.encoding, stream.errors, stream.line_buffering, stream.write_through,
          stream.fileno(), stream.isatty(), stream.newlines)
print(sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)""",
    "stdin": "print(input(), sys.stdin.buffer.read())",
    "order": "os.write(1, b'1'); print(2, end=''); os.write(1, b'3'); sys.stderr.write('4'); os.write(2, b'5')",
    "lines": "print('a'); os.write(1, b'b'); print('c', file=sys.stderr); os.write(2, b'd')",
    "a reader": "print(1)\nprint(2, file=sys.stderr)\nprint(3, flush=True)\nprint(4, file=sys.stderr)",
}
PLACE = re.compile(rb"\b0x[0-9a-f]+")
ENDS = {
    "nothing": "pass",
    "0": "sys.exit(0)",
    "3": "sys.exit(3)",
    "-1": "sys.exit(-1)",
    "256": "sys.exit(256)",
    "True": "sys.exit(True)",
    "None": "sys.exit(None)",
    "words": "sys.exit('a sentence, é')",
    "a tuple": "sys.exit((1, 2))",
    "at once": "print('kept?'); os._exit(7)",
    "an error": "raise ValueError('wrong')",
    "an error from another": "try:\n    {}['a']\nexcept KeyError as error:\n    raise OSError(5, 'late') from error",
    "an error in an import": "import nowhere_at_all",
    "a syntax error": "exec('a b')",
    "an interrupt": "raise KeyboardInterrupt",
    "Ctrl-C": "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "abort": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()",
    "a thread that goes on": "threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
    "a thread that is left": "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "an error in a thread": "threading.Thread(target=lambda: 1 / 0, name='one').start()",
    "last words": "atexit.register(print, 'first'); atexit.register(print, 'second'); print('none'); sys.exit(4)",
    "an error in last words": "atexit.register(lambda: 1 / 0); sys.exit(4)",
    "a thread and last words": "atexit.register(print, 'last'); threading.Thread(target=print, args=('one',)).start()",
    "a closed stdout": "print('kept'); os.close(1)",
    "a stdout that is none": "print('kept', flush=True); sys.stdout = None",
    "another's errors": "sys.excepthook = lambda kind, error, trace: print('hooked', error)\nraise ValueError('wrong')",
}
PIPES = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
IMPORTS = "import atexit, gc, locale, logging, os, resource, signal, subprocess, sys, threading, time, warnings\n"


@pytest.fixture(autouse=True)
def forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests fork in every run, the slow ones as well."""
    monkeypatch.setattr(python_programs, "REAL_STARTS", False)
    monkeypatch.setattr(python_programs.forking, "wanted", True)


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    """Run a module `probe` of that text, by a real start and by a fork."""

    def run(text: str, *flags: str, **changed: Any) -> list[Done]:
        (tmp_path / "probe.py").write_text(IMPORTS + text)
        (tmp_path / "work").mkdir(exist_ok=True)
        words = [sys.executable, "-m", "probe", *flags]
        environ = {**os.environ, "PYTHONPATH": str(tmp_path), "É": "è\udcff", "EMPTY": ""}
        given: dict[str, Any] = {"cwd": tmp_path / "work", "env": environ, **PIPES, **changed}
        done: list[Done] = []
        for wanted in (False, True):
            monkeypatch.setattr(python_programs.forking, "wanted", wanted)
            with Program(words, **given) as started:
                assert started.forked == wanted
                done.append(Done(words, 0, *started.communicate(b"one\ntwo\xff", 60)))
                done[-1].returncode = started.returncode
        return done

    return run


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def streams(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Streams with buffers, and without: a server of its own, because that is decided at the start."""
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)
    monkeypatch.setitem(python_programs.ENVIRON, "PYTHONUNBUFFERED", request.param)
    own = python_programs.Forking()
    monkeypatch.setattr(python_programs, "forking", own)
    yield
    own.stop()


def same(done: list[Done]) -> Done:
    """What a program ended with and said, both ways: the places of objects are no matter."""
    for each in done:
        each.stdout, each.stderr = (PLACE.sub(b"0x", text or b"") for text in (each.stdout, each.stderr))
    real, forked = done
    assert (forked.returncode, forked.stdout, forked.stderr) == (real.returncode, real.stdout, real.stderr)
    return forked


@pytest.mark.parametrize("session", [False, True], ids=["in our session", "in its own"])
def test_a_fork_sees_what_a_real_start_sees(both: Both, session: bool) -> None:
    text = "\n".join(f"print({what!r}); {seen}" for what, seen in SEEN.items())

    done = same(both(text, "one", "two words", "é\udcff", start_new_session=session))

    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") == 2 * len(SEEN)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("what", STREAMS)
def test_the_streams_of_a_fork_are_those_of_a_real_start(both: Both, streams: None, what: str) -> None:
    assert same(both(STREAMS[what])).stdout

    same(both(STREAMS[what], stderr=subprocess.STDOUT))


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize("how", ENDS)
def test_a_fork_ends_as_a_real_start_ends(both: Both, how: str) -> None:
    same(both(ENDS[how]))


@pytest.mark.fast_cases(1)
def test_a_fork_whose_reader_is_gone_ends_as_a_real_start_ends(both: Both, streams: None) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as gone:
        done = same(both("print('x')", stdout=gone))

    assert done.returncode == (1 if os.environ["PYTHONUNBUFFERED"] else 120)
    assert b"BrokenPipeError" in done.stderr


def test_a_fork_without_streams_of_its_own_has_those_of_the_tests(
    both: Both, capfd: pytest.CaptureFixture[str]
) -> None:
    both("print('here'); print('there', file=sys.stderr)", stdout=None, stderr=None)

    assert capfd.readouterr() == ("here\nhere\n", "there\nthere\n")


def test_forks_draw_other_random_numbers_each(both: Both) -> None:
    text = "import random, uuid, tempfile\nprint(random.random(), uuid.uuid4(), uuid.uuid1(), tempfile.mktemp())"

    drawn = [set(both(text)[1].stdout.split()) for _ in range(2)]

    assert not drawn[0] & drawn[1]


def test_a_server_id_is_made_of_the_start_of_the_fork(both: Both) -> None:
    text = "from opskit.queue import server_id\nprint(time.monotonic() - server_id._STARTED_MONOTONIC < 2)"

    assert [each.stdout for each in both(text)] == [b"True\n"] * 2


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_fork_is_stopped_continued_and_killed_as_a_real_start_is(tmp_path: Path, end: signal.Signals) -> None:
    with program(tmp_path, "print(input(), flush=True); time.sleep(60)") as sleeper:
        assert sleeper.forked
        assert sleeper.poll() is None
        assert sleeper.stdin
        assert sleeper.stdout
        sleeper.send_signal(signal.SIGSTOP)
        sleeper.stdin.write(b"said\n")
        sleeper.stdin.flush()
        assert os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT) is not None
        sleeper.send_signal(signal.SIGCONT)
        assert sleeper.stdout.readline() == b"said\n"

        sleeper.send_signal(end)

        assert sleeper.wait(60) == -end
        sleeper.kill()  # of a program that has ended: nothing happens
        assert sleeper.poll() == -end


def program(folder: Path, text: str, *prefix: str, **given: Any) -> Program:
    """A program of that text, started, with pipes."""
    (folder / "probe.py").write_text(IMPORTS + text)
    environ = {**os.environ, "PYTHONPATH": str(folder), **given.pop("environ", {})}
    words = [sys.executable, *prefix, "-m", "probe"]
    return Program(words, **{"env": environ, "cwd": folder, **PIPES, **given})


@pytest.mark.parametrize(
    "environ",
    [
        {"PYTHONHASHSEED": "0"}, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONWARNINGS": "error"}, {"PYTHONUTF8": "1"},
        {"LC_ALL": "C"}, {"TZ": "Asia/Tokyo"}, {"LD_LIBRARY_PATH": "/tmp"},
        {"COLUMNS": "400"}, {"NO_COLOR": "1"},
    ],
)  # fmt: skip
def test_what_is_decided_at_the_start_makes_a_real_start(tmp_path: Path, environ: dict[str, str]) -> None:
    with program(tmp_path, "pass", environ=environ) as started:
        assert not started.forked
        assert started.wait(60) == 0


def test_flags_of_the_interpreter_and_what_a_fork_is_not_asked_make_a_real_start(tmp_path: Path) -> None:
    for prefix, given in (
        (("-W", "error"), {}), (("-P",), {}), (("-X", "dev"), {}), ((), {"preexec_fn": lambda: None}),
        ((), {"umask": 0o77}), ((), {"restore_signals": False}), ((), {"close_fds": False}), ((), {"process_group": 0}),
    ):  # fmt: skip
        with program(tmp_path, "pass", *prefix, **given) as started:
            assert not started.forked, (prefix, given)
            assert started.wait(60) == 0


@pytest.mark.parametrize("name", ["json.py", "psycopg/__init__.py", "opskit/__init__.py", "sitecustomize.py"])
def test_a_module_by_the_name_of_one_that_the_server_has_makes_a_real_start(tmp_path: Path, name: str) -> None:
    ours = tmp_path / "ours" / name
    ours.parent.mkdir(parents=True)
    ours.write_text("theirs = True")
    environ = {"PYTHONPATH": f"{tmp_path / 'ours'}:{tmp_path}"}

    with program(tmp_path, "pass", environ=environ) as started:
        assert not started.forked
        started.communicate(timeout=60)


def test_a_terminal_makes_a_real_start(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with program(tmp_path, "pass", stdin=theirs) as started:
        assert not started.forked
        assert started.wait(60) == 0
    os.close(ours)
    os.close(theirs)


def test_a_forked_copy_of_the_tests_starts_its_programs_itself(tmp_path: Path) -> None:
    with program(tmp_path, "pass") as started:
        assert started.forked
    copy = os.fork()
    if copy == 0:
        try:
            with program(tmp_path, "pass") as started:
                os._exit(started.forked or started.wait(60))
        finally:
            os._exit(99)

    assert os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 0


TESTS = """
import os, signal, subprocess, sys
from tests.support import python_programs
python_programs.forking.wanted = True
python_programs.REAL_STARTS = False
program = python_programs.Program([sys.executable, "-m", "probe"], stdout=subprocess.PIPE, start_new_session=True)
assert program.forked
program.stdout.readline()
print(program.pid, python_programs.forking._server.pid, flush=True)
{end}
"""


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("end", ["input()", "sys.exit()", "os._exit(1)"])
def test_server_and_programs_end_with_the_tests(tmp_path: Path, end: str) -> None:
    (tmp_path / "probe.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)")
    path = f"{tmp_path}:{python_programs.SERVER.parents[2]}"
    tests = subprocess.Popen(
        [sys.executable, "-c", TESTS.format(end=end)], env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert tests.stdout is not None
    pids = [int(word) for word in tests.stdout.readline().split()]
    assert len(pids) == 2

    tests.kill()
    tests.communicate()

    deadline = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, pids))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
