"""What the server makes of a cohort: pre-aggregations, defense, and what these are handed."""
