"""Where wrap keys come from, and every file through them."""
