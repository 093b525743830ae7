"""Where stages run: each engine calls the same idempotent `run_stage` somewhere."""
