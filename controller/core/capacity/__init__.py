"""What each pool may carry."""
