"""X.509 in, AWS credentials out: IAM Roles Anywhere for `credential_process`.

Nothing is imported here: the command's warm path runs in two milliseconds, and every import is one
of them. `credproc.obtain.obtain` is the way in for programs.
"""
