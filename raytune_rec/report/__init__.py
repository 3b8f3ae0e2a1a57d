"""What a person looks at: the report page, TensorBoard and the console table. Reads a finished run folder, nothing else."""
