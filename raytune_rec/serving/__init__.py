"""A run's prompts behind HTTP: what a client asks and gets, the answers of a batch of requests, the routes, and Ray Serve."""
