//! UringEnv: glommio tasks and timers, an io-uring ring for sockets and log writes.
