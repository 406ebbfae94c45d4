"""The estimator, and the functions on a fitted model that it speaks for."""
