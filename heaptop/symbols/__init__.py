"""From places in programs to names: functions, files and lines, read from ELF and DWARF when somebody looks."""
