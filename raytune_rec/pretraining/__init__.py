"""Pre-training of the shared backbone: on Ray Train, fed by Ray Data, or in this process. `pretrain.workers` decides.

Nothing here imports Ray until a pre-training with workers begins.
"""
