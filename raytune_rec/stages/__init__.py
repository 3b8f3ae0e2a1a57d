"""The stages of a run, in order: prepare, pretrain, tune, export, evaluate, report. One module each; `pipeline` runs them."""
