//! Settings that were changed at run time, kept for the next start.
//!
//! The configuration file belongs to its author and is never written. Changes go to a file of their own
//! (`configStorePath`), are applied after the configuration file at the next start, and are then named in the log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::properties_text;
use tracing::{info, warn};

use crate::config::NamesrvConfig;
use crate::durable_text;
use crate::saver::{NotDurable, Saver};

pub struct Settings<E: Env> {
    changed: Rc<RefCell<BTreeMap<String, String>>>,
    saver: Rc<Saver<E>>,
}

impl<E: Env> Settings<E> {
    /// Applies earlier changes to `config`.
    pub async fn open(env: &E, config: &mut NamesrvConfig) -> io::Result<Self> {
        let path = config.config_store_path.clone();
        let text = durable_text::read(env.disk(), &path).await?.unwrap_or_default();
        let bad = |error: &dyn std::error::Error| {
            let message = format!("{}: {error}; repair the file or move it away", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let entries = properties_text::parse(&text).map_err(|error| bad(&error))?;
        let applied = config.apply_live(&entries).map_err(|error| bad(&error))?;
        for (key, value) in &applied.changed {
            info!(key, value, path = %path.display(), "setting from an earlier change by request");
        }
        for (key, why) in &applied.without_effect {
            warn!(key, why, path = %path.display(), "setting without effect");
        }
        let kept = entries.into_iter().map(|entry| (entry.key, entry.value.trim().to_owned()));
        let changed: Rc<RefCell<BTreeMap<_, _>>> = Rc::new(RefCell::new(kept.collect()));
        let shown = changed.clone();
        let render = move || {
            let mut text = String::new();
            for (key, value) in shown.borrow().iter() {
                properties_text::write(&mut text, key, value);
            }
            text
        };
        Ok(Self { changed, saver: Saver::new(env, &path, render) })
    }

    pub fn save(
        &self,
        changes: BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), NotDurable>> + use<E> {
        self.changed.borrow_mut().extend(changes);
        self.saver.changed()
    }

    pub async fn idle(&self) {
        self.saver.idle().await;
    }
}
