"""The one place that puts, lists, locks and removes files. Nothing else in the package does."""
