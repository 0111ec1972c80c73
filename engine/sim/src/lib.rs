//! The seeded simulation of the seam: executor, virtual time, disk and network with faults.
