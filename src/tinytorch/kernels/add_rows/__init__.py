"""The ladder of add_rows."""
