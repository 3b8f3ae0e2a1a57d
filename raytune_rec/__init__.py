"""Pre-train one recommender backbone, then tune and export one small prompt per domain, on Ray."""

__version__ = "0.1.0"
