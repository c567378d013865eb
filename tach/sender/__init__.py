"""What runs beside the measured program: reads its memory, does all that is slow."""
