"""Texts: files, preprocessing, data sets."""
