"""Orders that workers work at."""
