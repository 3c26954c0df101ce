"""The database of this app over time."""
