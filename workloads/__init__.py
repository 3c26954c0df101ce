"""Loads that judge the product, each run as `python -m workloads.<name>`: `soak`, `demo`, `bench`.

What a run is judged by comes from two witnesses that know nothing of the product: a ledger that
the tasks themselves write (`ledger`) and the broker's own log (`broker_log`).
"""
