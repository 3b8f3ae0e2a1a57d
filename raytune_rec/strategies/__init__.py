"""Who trains what, from which start. A strategy is data (`schema.work.Strategy`)."""
