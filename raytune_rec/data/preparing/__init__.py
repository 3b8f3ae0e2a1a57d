"""What makes the store: rows judged, coded, split and written, in three passes."""
