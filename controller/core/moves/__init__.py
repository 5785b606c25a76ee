"""How load moves between pools."""
