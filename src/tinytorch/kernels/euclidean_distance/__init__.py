"""The ladder of euclidean_distance."""
