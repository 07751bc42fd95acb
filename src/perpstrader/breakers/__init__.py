"""Circuit breakers around each dependency, and the health checks that try them."""

from perpstrader.breakers.baseline import CircuitBreakers
from perpstrader.breakers.contract import (
    EXECUTION,
    RECOVERY,
    RISK,
    STATE,
    TRACES,
    VENUE,
    BreakerChange,
    BreakerOpenError,
    BreakerSpec,
    BreakerStatus,
    CallMetrics,
    ComponentHealth,
    Done,
    Finding,
    HealthCheck,
    HealthReport,
    HealthStatus,
    UnavailableError,
    Watch,
    unwatched,
    worst,
)
from perpstrader.breakers.contract import CircuitBreakers as CircuitBreakersContract
from perpstrader.breakers.contract import HealthChecks as HealthChecksContract
from perpstrader.breakers.failures import FAILURES, Outcome, outcome_of, trouble_in
from perpstrader.breakers.health import HealthChecks
from perpstrader.breakers.names import SPECS
from perpstrader.breakers.policy import open_period_ms
from perpstrader.breakers.transport import GuardedTransport
from perpstrader.domain.breakers import BreakerRow, BreakerState

__all__ = [
    "EXECUTION", "FAILURES", "RECOVERY", "RISK", "SPECS", "STATE", "TRACES", "VENUE", "BreakerChange",
    "BreakerOpenError", "BreakerRow", "BreakerSpec", "BreakerState", "BreakerStatus", "CallMetrics", "CircuitBreakers",
    "CircuitBreakersContract", "ComponentHealth", "Done", "Finding", "GuardedTransport", "HealthCheck", "HealthChecks",
    "HealthChecksContract", "HealthReport", "HealthStatus", "Outcome", "UnavailableError", "Watch", "open_period_ms",
    "outcome_of", "trouble_in", "unwatched", "worst",
]  # fmt: skip
