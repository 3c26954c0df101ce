"""Apps whose needs differ, and a record of what they ask of a broker."""
