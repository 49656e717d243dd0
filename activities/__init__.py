"""The activities: one thin module each. They unpack, call shared, and pack."""
