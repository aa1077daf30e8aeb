"""What model files hold: SavedModels, their variables and warm-up requests, as values."""
