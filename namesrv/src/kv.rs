//! The KV configuration: names and values in namespaces, kept in one JSON file in RocketMQ's form.
//!
//! Invariants: a change is in effect at once and durable when its future is done. A file that cannot be understood stops
//! the start: going on with an empty table would overwrite it with the first change.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use ringmq_io::Env;
use ringmq_io::limits::NAMESRV_KV_BYTES_MAX;
use ringmq_wire::json_dialect::{KvTable, to_vec};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::info;

use crate::durable_text;
use crate::saver::{NotDurable, Saver};

/// Namespace of the queue counts of ordered topics.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KvError {
    #[error("KV configuration is full: {used} of {NAMESRV_KV_BYTES_MAX} bytes used, {needed} more needed")]
    Full { used: usize, needed: usize },
    #[error("KV configuration {0}")]
    NotDurable(#[from] NotDurable),
}

type Tables = BTreeMap<String, BTreeMap<String, String>>;

/// The file's form, RocketMQ 5.5.0 KVConfigSerializeWrapper. One without its table is damaged, not empty.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored<T> {
    config_table: T,
}

pub struct KvStore<E: Env> {
    tables: Rc<RefCell<Tables>>,
    bytes: Cell<usize>,
    saver: Rc<Saver<E>>,
}

fn bytes_of(namespace: &str, key: &str, value: &str) -> usize {
    namespace.len() + key.len() + value.len()
}

impl<E: Env> KvStore<E> {
    pub async fn open(env: &E, path: &Path) -> io::Result<Self> {
        let text = durable_text::read(env.disk(), path).await?.unwrap_or_default();
        let tables: Tables = match text.trim() {
            "" => Tables::new(),
            text => parse(text).map_err(|error| {
                let message = format!("{}: {error}; repair the file or move it away", path.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?,
        };
        let entries = tables.iter().flat_map(|(n, table)| table.iter().map(move |(k, v)| bytes_of(n, k, v)));
        let bytes = entries.sum();
        let tables = Rc::new(RefCell::new(tables));
        let shown = tables.clone();
        let render = move || text_of(&shown.borrow());
        Ok(Self { tables, bytes: Cell::new(bytes), saver: Saver::new(env, path, render) })
    }

    pub fn get(&self, namespace: &str, key: &str) -> Option<String> {
        self.tables.borrow().get(namespace)?.get(key).cloned()
    }

    /// A whole namespace as the body of an answer.
    pub fn table_text(&self, namespace: &str) -> Option<Vec<u8>> {
        let table = self.tables.borrow().get(namespace)?.clone();
        Some(to_vec(&KvTable { table }))
    }

    pub fn put(
        &self,
        namespace: &str,
        key: &str,
        value: &str,
    ) -> Result<impl Future<Output = Result<(), KvError>> + use<E>, KvError> {
        let before = self.get(namespace, key).map_or(0, |old| bytes_of(namespace, key, &old));
        let (used, after) = (self.bytes.get(), self.bytes.get() - before + bytes_of(namespace, key, value));
        if after > NAMESRV_KV_BYTES_MAX {
            return Err(KvError::Full { used, needed: after - used });
        }
        self.bytes.set(after);
        info!(namespace, key, value, "KV configuration changed");
        self.tables.borrow_mut().entry(namespace.into()).or_default().insert(key.into(), value.into());
        Ok(self.changed())
    }

    /// A namespace stays, without entries, as in the reference.
    pub fn delete(&self, namespace: &str, key: &str) -> impl Future<Output = Result<(), KvError>> + use<E> {
        let old = self.tables.borrow_mut().get_mut(namespace).and_then(|table| table.remove(key));
        if let Some(old) = old {
            self.bytes.set(self.bytes.get() - bytes_of(namespace, key, &old));
            info!(namespace, key, "KV configuration entry deleted");
        }
        self.changed()
    }

    /// Waits until no change is being written.
    pub async fn idle(&self) {
        self.saver.idle().await;
    }

    fn changed(&self) -> impl Future<Output = Result<(), KvError>> + use<E> {
        let durable = self.saver.changed();
        async move { Ok(durable.await?) }
    }
}

fn parse(text: &str) -> Result<Tables, serde_json::Error> {
    serde_json::from_str::<Stored<Tables>>(text).map(|stored| stored.config_table)
}

fn text_of(tables: &Tables) -> String {
    serde_json::to_string(&Stored { config_table: tables }).expect("maps of text are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tables_round_trip(tables in btree_map(any::<String>(), btree_map(any::<String>(), any::<String>(), 0..4), 0..4)) {
            let text = text_of(&tables);
            prop_assert!(!text.contains('\n'), "the file is padded with line ends");
            prop_assert_eq!(parse(&(text + "\n\n\n")).unwrap(), tables);
        }

        #[test]
        fn any_text_is_understood_or_refused(
            text in prop_oneof![any::<String>(), r#"\{"configTable":[\{\}\[\]":,a1 n\\u]{0,40}\}"#],
        ) {
            if let Ok(tables) = parse(&text) {
                prop_assert_eq!(parse(&text_of(&tables)).unwrap(), tables);
            }
        }
    }
}
