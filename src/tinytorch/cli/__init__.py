"""`tito`: the command line. Nothing imports it."""
