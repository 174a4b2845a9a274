"""Parametric birds with patterned plumage: a data set that needs no download."""
