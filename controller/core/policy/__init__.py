"""What the policy allows."""
