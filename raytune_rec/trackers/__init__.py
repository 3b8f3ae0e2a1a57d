"""Services outside that are told of a run and its trials. One public module = one tracker; `base.py` is the contract."""
