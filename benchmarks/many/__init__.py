"""Many domains: the search of PLATE's prompts on all of them, by this product and by plain Ray Tune."""
