"""Score folders and tables of any size with an export, as an Apache Beam pipeline of shards that can be resumed."""
