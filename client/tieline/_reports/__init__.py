"""What this process saw, and its way out."""
