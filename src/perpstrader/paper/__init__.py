"""The exchange in a box: engine, feeds, faults, server; and what builds one of them."""

from perpstrader.paper.build import build_venue, synthetic_feed
from perpstrader.paper.store import PaperStore, PaperStoreError

__all__ = ["PaperStore", "PaperStoreError", "build_venue", "synthetic_feed"]
