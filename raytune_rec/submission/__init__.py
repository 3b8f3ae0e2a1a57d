"""Jobs on a cluster that is reached through its dashboard."""
