"""What image files are, by their bytes alone, and what is wrong with them; stands on the ground, beside `errors`."""
