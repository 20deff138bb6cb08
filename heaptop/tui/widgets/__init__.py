"""What the shell is made of: table, header, footer, detail pane. Thin: drawing is in renderables."""
