"""What decides: spaces, studies and their journal, proposals, rungs. No lane is trained here, and Ray is not known."""
