"""What tests of the estimator share: networks as deep as the smallest preset, a quarter as wide."""

import pytest

# They read models that were stored with the preset's own width, measure its memory, ask what a
# network can learn, or train in processes that begin anew.
AS_SHIPPED = (
    "test_named_models",
    "test_stored_draws",
    "test_refitting",
    "test_searches",
    "test_several_cubes",
)


@pytest.fixture(scope="module", autouse=True)
def narrowed(request):
    """Most of what these tests ask has nothing to do with how much a network can learn."""
    if request.path.stem not in AS_SHIPPED:
        request.getfixturevalue("narrow_networks")
