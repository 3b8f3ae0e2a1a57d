"""`raytune-rec init`: from the files of a log to a job that runs."""
