"""Values that every chapter of the core shares."""
