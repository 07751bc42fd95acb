"""What may go wrong between a client and the paper exchange, on purpose and repeatably."""

from perpstrader.paper.faults.contract import NO_FAULT, FaultKind, Faults, FrameFate, LateFrame, RequestFate
from perpstrader.paper.faults.random_faults import FaultRates, RandomFaults
from perpstrader.paper.faults.rules import FaultRule, FaultRuleError, parse

__all__ = [
    "NO_FAULT", "FaultKind", "FaultRates", "FaultRule", "FaultRuleError", "Faults", "FrameFate", "LateFrame",
    "RandomFaults", "RequestFate", "parse",
]  # fmt: skip
