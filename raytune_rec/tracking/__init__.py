"""The trackers of a job at work: each in a process that follows the journal, and that no run waits for while it trains."""
