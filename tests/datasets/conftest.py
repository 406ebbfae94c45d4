import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real precipitation files, which are not part of the project."""
    beside = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    folder = Path(os.environ.get("SKDIFFUSE_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real precipitation in {folder} (set SKDIFFUSE_TEST_DATA)")
    return folder
