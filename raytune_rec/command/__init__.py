"""What verbs of the command show that are no stage: `show` and `doctor`."""
