"""Which pools this process keeps away from."""
