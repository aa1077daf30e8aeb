"""Tools on policy files: lint, explain, diff, replay, import and edit. Pure: text and values in."""
