"""Pure drawing: numbers in, text out. No app, no widget, no colour."""
