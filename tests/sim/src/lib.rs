//! The deterministic simulator: whole nodes under faults.
