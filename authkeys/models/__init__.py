"""What is kept: keys, attempts to use them, how often each is used, and answers to be given again."""

from authkeys.models.api_keys import APIKey, KeyNotUsable
from authkeys.models.attempts import AuditChain, AuthLog, Outcome, Reason
from authkeys.models.kept_answers import KeptAnswer
from authkeys.models.rates import Usage

__all__ = ["APIKey", "AuditChain", "AuthLog", "KeptAnswer", "KeyNotUsable", "Outcome", "Reason", "Usage"]
