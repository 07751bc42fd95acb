"""Virtual time: recorded markets replayed through the whole trader, and campaigns over many seeds."""
