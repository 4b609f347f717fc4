"""What every package may use; it knows nothing of files or queues."""
