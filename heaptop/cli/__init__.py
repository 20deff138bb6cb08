"""The command line: one module per group of verbs. Nothing here draws a screen, and only `main` ends the program."""
