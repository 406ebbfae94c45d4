import errno
import os
import signal

import pytest

from skdiffuse.runtime.whole_files import write_whole

FAULTS = [OSError(errno.ENOSPC, "No space left on device"), PermissionError(errno.EACCES, "no"),
          MemoryError(), KeyboardInterrupt()]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("call", ["fdopen", "fsync", "chmod", "stat", "replace"])
def test_whatever_fails_leaves_what_was_there(tmp_path, monkeypatch, call, fault):
    path = write_whole(tmp_path / "file", b"before")

    def fail(*_, **__):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(type(fault)):
            write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_a_disk_that_is_full(tmp_path):
    """The kernel's own, which has no room for a byte."""
    full = "/dev/full"
    if not os.path.exists(full):
        pytest.skip("no /dev/full on this system")
    from tempfile import mkstemp

    def on_it(**_):
        return os.open(full, os.O_WRONLY), mkstemp(dir=tmp_path)[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skdiffuse.runtime.whole_files.tempfile.mkstemp", on_it)
        with pytest.raises(OSError, match="No space left"):
            write_whole(tmp_path / "file", b"x")
    assert os.listdir(tmp_path) == []


def test_killed_in_the_middle(tmp_path):
    """By a signal that no program can catch."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    path = write_whole(tmp_path / "file", b"before")
    child = os.fork()
    if child == 0:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        write_whole(path, b"after" * 1000)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert path.read_bytes() == b"before"
