"""The permission over time; there is no table."""
