//! Appends that wait for room in their shard.
//!
//! Owns: the two ways of waiting. For a client, as long as a send would wait (`APPEND_WAIT_MS_MAX`), then a refusal that says
//! what was full; for the broker's own work, until there is room. Invariant: an attempt is made again only after one that
//! changed nothing.
//! On failure: a refusal in the client's terms; own work ends when the shard takes nothing more until a restart.

use std::time::Duration;

use futures_lite::FutureExt;
use ringmq_io::Env;
use ringmq_io::limits::APPEND_WAIT_MS_MAX;
use ringmq_store::AppendError;
use ringmq_wire::code::response_code;

use crate::core::{Core, LocalShard};
use crate::handlers::send_message::append_code;
use crate::reply::Refusal;

/// Until own work that the disk has no room for, or that could not be read, is tried again.
pub const RETRY: Duration = Duration::from_millis(500);

/// Why an attempt did not succeed.
pub enum Failed {
    Append(AppendError),
    Refused(Refusal),
}

impl From<AppendError> for Failed {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

/// For a client that waits.
pub async fn with_room<E: Env, T>(
    core: &Core<E>,
    local: &LocalShard<E>,
    mut attempt: impl FnMut() -> Result<T, Failed>,
) -> Result<T, Refusal> {
    let deadline = core.env.monotonic_ns() + APPEND_WAIT_MS_MAX * 1_000_000;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(Failed::Append(error @ AppendError::RingFull { .. })) => {
                let left = deadline.saturating_sub(core.env.monotonic_ns());
                if left == 0 {
                    let remark = format!("[RINGMQ_BUSY] {error}, for {APPEND_WAIT_MS_MAX} ms");
                    return Err(Refusal::new(response_code::SYSTEM_BUSY, remark));
                }
                local.shard.room().or(core.env.sleep(Duration::from_nanos(left))).await;
            }
            Err(Failed::Append(error)) => return Err(Refusal::new(append_code(&error), error.to_string())),
            Err(Failed::Refused(refusal)) => return Err(refusal),
        }
    }
}

/// For what nobody waits for. `None`: the shard takes nothing more. `late` is said when something else than a full ring
/// delays it.
pub async fn whenever_there_is_room<E: Env, T>(
    core: &Core<E>,
    local: &LocalShard<E>,
    late: &str,
    mut attempt: impl FnMut() -> Result<T, AppendError>,
) -> Option<T> {
    loop {
        match attempt() {
            Ok(done) => return Some(done),
            Err(AppendError::RingFull { .. }) => local.shard.room().await,
            Err(AppendError::Latched(_) | AppendError::ShuttingDown { .. }) => return None,
            Err(error) => {
                tracing::warn!(shard = local.shard.id(), %error, "{late}");
                core.env.sleep(RETRY).await;
            }
        }
    }
}
