"""The demonstration: a model of a few minutes, and a page of what it can do."""
