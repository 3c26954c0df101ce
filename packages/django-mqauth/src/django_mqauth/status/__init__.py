"""What the status page shows: this process, this host, every worker. Nothing of it is secret."""
