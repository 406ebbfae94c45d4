"""scikit-learn's callbacks, told of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sklearn.callback import CallbackSupportMixin
from sklearn.callback import with_callbacks as untyped_with_callbacks

from skdiffuse.estimator.learning import Learnt

__all__ = ["FitCallbacks", "with_callbacks"]

Method = TypeVar("Method", bound=Callable[..., object])


def with_callbacks(method: Method) -> Method:
    """scikit-learn's decorator of a `fit` with callbacks, which would hide the method's type."""
    return untyped_with_callbacks(method)


class FitCallbacks:
    """Tells scikit-learn's callbacks of an estimator what happens in its `fit`.

    Parameters
    ----------
    estimator : CallbackSupportMixin
        Whose callbacks they are.
    X : object
        What it is fitted to.
    attributes : callable
        ``attributes(learnt)`` gives the fitted attributes, from which the estimator is remade for
        a callback that asks for it.
    """

    def __init__(
        self,
        estimator: CallbackSupportMixin,
        X: object,
        attributes: Callable[[Learnt], dict[str, object]],
    ) -> None:
        self.estimator = estimator
        self.X = X
        self.attributes = attributes

    def begin(self, n_epochs: int) -> None:
        """Training begins."""
        self.context = self.estimator._init_callback_context(max_subtasks=n_epochs)
        self.context.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    def after_epoch(self, learnt: Callable[[], Learnt]) -> bool:
        """An epoch is over; True if a callback wants to stop."""
        epoch = self.context.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(estimator=self.estimator, X=self.X)
        return epoch.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            reconstruction_attributes=lambda: self.attributes(learnt()),
        )

    def end(self, learnt: Learnt) -> None:
        """Training is over."""
        self.context.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            reconstruction_attributes=lambda: self.attributes(learnt),
        )
