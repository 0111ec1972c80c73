//! Route table, liveness, name server handlers.
