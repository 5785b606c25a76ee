"""What every process of the controller needs."""
