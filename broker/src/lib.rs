//! Message semantics: dispatch, handlers, groups, offsets, cluster.
