"""The exchange in a box: engine, feeds, faults, server; and what builds one of them."""

from perpstrader.paper.build import LivePlan, PaperExchange, PaperPlan, build_venue, open_paper, synthetic_feed
from perpstrader.paper.store import PaperStore, PaperStoreError

__all__ = [
    "LivePlan", "PaperExchange", "PaperPlan", "PaperStore", "PaperStoreError", "build_venue", "open_paper",
    "synthetic_feed",
]  # fmt: skip
