"""Call stacks: from registers and a copy of the stack to frames, and how both are taken from a running thread."""
