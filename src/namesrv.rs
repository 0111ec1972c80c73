//! `ringmq namesrv`: a name server alone, on one core.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use ringmq_io::sync::Stop;
use ringmq_namesrv::NamesrvConfig;
use ringmq_uring::{UringEnv, signals};

use crate::cli::Namesrv;
use crate::ready;

pub fn run(args: &Namesrv) -> Result<()> {
    let mut config = read_config(Path::new("data"), args.config.as_deref())?;
    if let Some(port) = args.port {
        config.listen_port = port;
    }
    signals::install().context("install signal handlers")?;
    let mut results = ringmq_uring::run(1, move |env| serve(env, config.clone()))?;
    results.remove(0)
}

/// Defaults with files below `data`, then the file's keys. Keys without effect are named in the log.
pub fn read_config(data: &Path, file: Option<&Path>) -> Result<NamesrvConfig> {
    let mut config = NamesrvConfig::new(data);
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let applied = config.apply(&text).map_err(|e| anyhow!("{}: {e}", file.display()))?;
        for (key, reason) in applied.without_effect {
            tracing::warn!("{}: {key} has no effect: {reason}", file.display());
        }
    }
    Ok(config)
}

async fn serve(env: UringEnv, config: NamesrvConfig) -> Result<()> {
    let stop = Stop::new();
    let listen = config.listen_addr();
    let server = ringmq_namesrv::start(&env, config, listen, stop.clone()).await?;
    ready::print(&[("namesrv", server.addr)])?;
    let signal = signals::stop_requested(&env).await?;
    tracing::info!("{signal}: stopping");
    stop.signal();
    server.stopped().await;
    Ok(())
}
