"""What lies on disk: facts in JSON, weights in safetensors, a marker written last. Nothing is pickled."""
