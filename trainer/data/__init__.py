"""Rows of a data set: reading formats, splits, filters, measuring."""
