"""What may go wrong between a client and the paper exchange, on purpose and repeatably."""

from perpstrader.paper.faults.contract import NO_FAULT, FaultKind, Faults, FrameFate, RequestFate
from perpstrader.paper.faults.random_faults import FaultRates, RandomFaults

__all__ = ["NO_FAULT", "FaultKind", "FaultRates", "Faults", "FrameFate", "RandomFaults", "RequestFate"]
