"""The ladder of channel_moments."""
