"""Faults: kills, cuts, failovers, full disks, frozen processes."""
