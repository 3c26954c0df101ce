"""The AWS config and credentials files: found, edited in place and replaced safely."""
