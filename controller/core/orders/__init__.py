"""What operators have ordered and sources claim."""
