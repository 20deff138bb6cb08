"""Sources of captures: this kernel, the emulator, a recording."""
