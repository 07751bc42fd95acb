"""The exchange in a box: engine, feeds, faults and the server that speaks the venue's wire."""
