"""The contract that every transform of rain keeps."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from skdiffuse.preprocessing import IdentityTransform, SqrtTransform

ALL = [IdentityTransform(), SqrtTransform()]


@parametrize_with_checks(ALL)
def test_sklearn_battery(estimator, check):
    check(estimator)
