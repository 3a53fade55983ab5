"""Predictions about the items of files and tables: how rows are read, and how results are written."""
