"""From what users write to a provider and everything it needs to know."""
