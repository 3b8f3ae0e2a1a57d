"""The verbs of the command that are no stage, and `tune --only-new`."""
