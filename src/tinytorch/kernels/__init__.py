"""The ladders: one folder an op, one rung a file, named for its idea."""
