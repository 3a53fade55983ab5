"""Rows of tables: columns, preprocessing, data sets."""
