"""What needs no worker process."""
