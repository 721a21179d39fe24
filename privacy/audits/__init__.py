"""Audits: lower bounds on epsilon from what a run or a mechanism released."""
