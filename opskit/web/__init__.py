"""Page and API on one port."""
