import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real precipitation files, which are not part of the project."""
    beside = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    folder = Path(os.environ.get("SKDIFFUSE_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real precipitation in {folder} (set SKDIFFUSE_TEST_DATA)")
    return folder


# 2 x 3 cells of a quarter degree, from 51 N and 0 E on.
_GRIB_GRID = {
    "Ni": 3, "Nj": 2, "iDirectionIncrementInDegrees": 0.25, "jDirectionIncrementInDegrees": 0.25,
    "latitudeOfFirstGridPointInDegrees": 51.0, "latitudeOfLastGridPointInDegrees": 50.75,
    "longitudeOfFirstGridPointInDegrees": 0.0, "longitudeOfLastGridPointInDegrees": 0.5,
    "jScansPositively": 0,
}  # fmt: skip


@pytest.fixture
def grib(tmp_path):
    """Writes GRIB messages of given keys to a file of a given name."""
    pytest.importorskip("cfgrib")
    return lambda messages, name="a.grib", **options: _write_grib(
        tmp_path / name, messages, **options
    )


def _write_grib(path: Path, messages: list[dict], edition: int = 2) -> Path:
    """GRIB messages of given keys; ``values`` is the field, ``stepRange`` set last."""
    import eccodes

    with open(path, "wb") as file:
        for message in messages:
            keys = dict(message)
            values, steps = keys.pop("values"), keys.pop("stepRange", None)
            handle = eccodes.codes_grib_new_from_samples(f"GRIB{edition}")
            for key, value in {**_GRIB_GRID, **keys}.items():
                eccodes.codes_set(handle, key, value)
            if steps is not None:
                eccodes.codes_set(handle, "stepRange", steps)
            eccodes.codes_set(handle, "bitsPerValue", 24)
            eccodes.codes_set_values(handle, np.asarray(values, dtype=float).ravel())
            eccodes.codes_write(handle, file)
            eccodes.codes_release(handle)
    return path
