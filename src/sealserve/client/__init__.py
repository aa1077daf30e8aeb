"""The data owner's library: predict over TLS, with numpy in and out."""
