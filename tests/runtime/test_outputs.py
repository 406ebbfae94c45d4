import os
import tempfile

import pytest

from skdiffuse.runtime.outputs import try_folder, try_output


def test_places_that_will_do_are_left_as_they_are(tmp_path):
    (tmp_path / "kept.nc").write_text("kept")
    (tmp_path / "store.zarr").mkdir()
    for name in ("new.nc", "kept.nc", "store.zarr", "new.zarr"):
        assert try_output(tmp_path / name, "out") == tmp_path / name
    assert try_folder(tmp_path / "a" / "b", "checkpoint_dir") == tmp_path / "a" / "b"
    deep = tmp_path / "deep" / "page.html"
    assert try_output(deep, "path", parents=True) == deep
    assert sorted(os.listdir(tmp_path)) == ["kept.nc", "store.zarr"]
    assert (tmp_path / "kept.nc").read_text() == "kept"


def test_places_that_will_not_do(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"out='.*nowhere/rain.nc': there is no folder .*nowhere; ma"):
        try_output(tmp_path / "nowhere" / "rain.nc", "out")
    with pytest.raises(OSError, match="is a folder; name a file within it, such as"):
        try_output(tmp_path, "out")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OSError, match="file is a file, not a folder; name another"):
            try_folder(place, "checkpoint_dir")

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    # Root may write anywhere.
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    for attempt in (
        lambda: try_output(tmp_path / "a.nc", "out"),
        lambda: try_folder(tmp_path, "out"),
    ):
        with pytest.raises(
            OSError, match=r"nothing can be written into .* \(Permission denied\); c"
        ):
            attempt()
