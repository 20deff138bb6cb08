"""Events as they happen: what this kernel offers is probed, watched, and leaves nothing behind."""
