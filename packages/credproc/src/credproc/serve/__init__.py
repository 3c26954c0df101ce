"""A local endpoint that hands credentials to AWS SDKs as EC2 and containers do."""
