"""What reads the store: rows of a unit, histories, and raw rows -> ids."""
