"""What the machine has and Ray needs: processors and memory, addresses, tokens, signals."""
