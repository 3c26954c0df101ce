"""Names of the environment variables through which a test talks to its processes."""

JOURNAL = "SAMPLE_JOURNAL"
CONFIGURATION = "SAMPLE_CONFIGURATION"
