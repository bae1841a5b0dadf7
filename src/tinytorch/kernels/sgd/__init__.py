"""The ladder of sgd."""
