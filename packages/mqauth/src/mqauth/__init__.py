"""Short-lived broker credentials that rotate without anybody noticing."""
