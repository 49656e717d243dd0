"""The activities, one thin module each: it unpacks the task, calls shared, and packs the answer."""
