"""Real nodes on this machine: up, prove, bench."""
