"""Where tables come from. A source never raises to the application; it says what is wrong and goes on."""
