"""What an epoch of each CTR backbone costs beside the same model in plain PyTorch, and what lanes make of it.

    python -m benchmarks.backbones [--tuned everything plate generative adapter] [--only deepfm ...]
                                   [--rows 60000] [--batch 512] [--lanes 64] [--repeats 5]

ours     one lane of the product's loop: an epoch of training and a validation
plain    the model written with torch.nn, fused Adam, batches by index: the same epoch and validation
lanes    as many configurations in one pack, an epoch of each

    everything   all of the model is trained
    plate        PLATE's prompts (Fusion) and the linear part, beside a frozen backbone; `generative` likewise
    adapter      low-rank matrices beside each frozen matrix and table

A made-up log of one domain with ten categorical fields, DeepFM's shape of the PLATE paper (width 16, layers of 16 and 16). One
thread; processor time of this process, median of the repeats, in which all take turns; the first epoch of each is not counted.
That both are the same model is checked: the plain one has the same validation AUC with the weights that ours has learnt.

    plain.py    the models and their training     prompts.py   what is tuned beside them when they are frozen
    learnt.py   the product's weights in them     measured.py  the job and the measurement
"""
