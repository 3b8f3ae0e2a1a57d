"""OMoE (one gate; Jacobs et al., 1991; Ma et al., KDD 2018) over domains: experts and one gate that all share, a tower each."""

from __future__ import annotations

from raytune_rec.backbones.mmoe import Mmoe


class Omoe(Mmoe):
    """Linear part + tower_d(sum_e g(x)_e expert_e(x)) with g(x) = softmax(W x), where x are the fields side by side and d is the
    row's domain.

    Differs from the paper: domains stand for tasks; the gate has a bias.
    """

    gates_by_domain = False
