import numpy as np
import pytest

from skdiffuse.cubes import dress, validate_cube, write_cube
from skdiffuse.datasets import make_precipitation


def test_an_ensemble_opens_in_pysteps(tmp_path):
    """pysteps finds rain by the name of its variable."""
    importers = pytest.importorskip("pysteps.io.nowcast_importers")
    template = validate_cube(make_precipitation(6, (16, 16), random_state=0)).template
    members = np.random.default_rng(0).gamma(1.0, size=(3, 4, 16, 16)).astype(np.float32)
    nowcast = dress(members, template, time="continued")
    path = write_cube(nowcast.rename("precip_intensity"), tmp_path / "nowcast.nc")
    rain, metadata = importers.import_netcdf_pysteps(str(path))
    np.testing.assert_array_equal(rain, members)
    assert metadata["xpixelsize"] == nowcast.x[1] - nowcast.x[0]
    assert len(metadata["timestamps"]) == 4
