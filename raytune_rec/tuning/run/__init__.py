"""What runs on Ray: the cluster, the trials of Ray Tune, and what they hand back."""
