"""Floor 2: what malicious clients do (``poisoning``) and what an eavesdropper learns (``leakage``)."""
