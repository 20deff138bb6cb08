"""The app. Nothing here is imported by a headless verb; read view.py first, then app.py."""
