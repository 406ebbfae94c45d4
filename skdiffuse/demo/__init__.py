"""The demonstration: a model with a name, or of a few minutes, and a page of what it can do."""
