"""Readers of CSV, TSV, JSONL and Parquet files: records and DataFrames."""
