"""Incidents, what is told of each, and the channels that it goes out by; nothing here can slow or stop the trader."""

from perpstrader.alerts.channels import AppriseChannel, Channel, ChannelError, LogChannel, RingChannel, make_channels
from perpstrader.alerts.desk import AlertDesk
from perpstrader.alerts.incidents import Alert, Change, Incident, IncidentBook, Severity
from perpstrader.alerts.lane import ChannelState, deliver

__all__ = [
    "Alert",
    "AlertDesk",
    "AppriseChannel",
    "Change",
    "Channel",
    "ChannelError",
    "ChannelState",
    "Incident",
    "IncidentBook",
    "LogChannel",
    "RingChannel",
    "Severity",
    "deliver",
    "make_channels",
]
