//! The seam: Env (disk, net, clock, spawn), aligned buffers, limits.
