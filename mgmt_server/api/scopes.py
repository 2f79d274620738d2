"""Whose value of a setting holds in a domain, and for an account: see model/scopes.py."""

from mgmt_server.model.scopes import INHERITED, of_account, of_domain

__all__ = ["INHERITED", "of_account", "of_domain"]
