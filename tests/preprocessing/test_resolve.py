"""From a user's word to a transformer, and from a transformer to a file."""

import json

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skdiffuse.preprocessing import (
    IdentityTransform,
    LearntMonotoneTransform,
    SqrtTransform,
    resolve_transformer,
    transformer_from_arrays,
    transformer_to_arrays,
)

NAMES = {
    "box_cox": "BoxCoxTransform",
    "cube_root": "CubeRootTransform",
    "identity": "IdentityTransform",
    "learnt": "LearntMonotoneTransform",
    "log": "LogTransform",
    "normal_score": "NormalScoreTransform",
    "sqrt": "SqrtTransform",
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_names(name, expected):
    assert type(resolve_transformer(name)).__name__ == expected


def test_none_and_instances():
    assert isinstance(resolve_transformer(None), IdentityTransform)
    given = LearntMonotoneTransform(max_iter=1).fit(np.ones((2, 2)) * 3)
    resolved = resolve_transformer(given)
    assert resolved is not given and not hasattr(resolved, "latent_nodes_")
    assert resolved.get_params() == given.get_params()


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"transformer: unknown name 'root'.*'sqrt'"):
        resolve_transformer("root")


@pytest.mark.parametrize("wrong", [3, SqrtTransform, StandardScaler()])
def test_unfit_objects(wrong):
    with pytest.raises(TypeError, match="transformer: got"):
        resolve_transformer(wrong)


@pytest.mark.parametrize("k", range(8))
def test_state_survives_a_file(fitted, k, rain, tmp_path):
    config, arrays = transformer_to_arrays(fitted[k])
    np.savez(tmp_path / "arrays.npz", **arrays)
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as stored:
        restored = transformer_from_arrays(json.loads(json.dumps(config)), dict(stored))
    assert type(restored) is type(fitted[k])
    assert restored.get_params() == fitted[k].get_params()
    z = fitted[k].transform(rain)
    np.testing.assert_array_equal(restored.transform(rain), z)
    np.testing.assert_array_equal(restored.inverse_transform(z), fitted[k].inverse_transform(z))
    if isinstance(restored, LearntMonotoneTransform):
        restored.trainable_module()


def test_numbers_are_stored_as_they_are_and_names_in_words(rain):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(rain.reshape(-1, 2)[:500], columns=["here", "there"])
    config, arrays = transformer_to_arrays(LearntMonotoneTransform(max_iter=3).fit(table))
    assert arrays and {array.dtype.kind for array in arrays.values()} <= {"f", "i"}
    assert "rate_nodes_" in arrays and "feature_names_in_" not in arrays
    assert ["here", "there"] in json.loads(json.dumps(config))["state"].values()


def test_unfitted_state():
    config, arrays = transformer_to_arrays(LearntMonotoneTransform(max_iter=7))
    assert arrays == {}
    assert transformer_from_arrays(config, arrays).get_params()["max_iter"] == 7


def test_what_has_no_file_form():
    with pytest.raises(TypeError, match="random_state"):
        transformer_to_arrays(LearntMonotoneTransform(random_state=np.random.RandomState(0)))
    with pytest.raises(TypeError, match="no file form"):
        transformer_to_arrays(StandardScaler())
    with pytest.raises(ValueError, match="no transformer class named"):
        transformer_from_arrays({"class": "os.system"}, {})
