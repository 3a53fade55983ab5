"""Texts: classes or labels."""
