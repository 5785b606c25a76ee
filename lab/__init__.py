"""What shows and tries the product; nothing that ships imports it."""
