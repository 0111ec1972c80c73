//! The KV configuration: 100, 101, 102, 219. A change is answered when it is on disk.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_transport::Flow;
use ringmq_wire::Command;
use ringmq_wire::code::response_code::{QUERY_NOT_FOUND, SYSTEM_ERROR};
use ringmq_wire::headers::{KvKeyHeader, KvNamespaceHeader, PutKvConfigHeader};

use super::{Asker, Handled, Refusal};
use crate::NameServer;
use crate::kv::KvError;

impl<E: Env> NameServer<E> {
    pub(super) fn put_kv(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        if !command.ext.contains("namespace") || !command.ext.contains("key") {
            return Err(Refusal::Code(SYSTEM_ERROR, "namespace or key is null".into()));
        }
        let header = PutKvConfigHeader::decode(&command.ext)?;
        let durable = self.kv.put(header.namespace, header.key, header.value)?;
        Ok(when_durable(asker, durable))
    }

    pub(super) fn get_kv(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let KvKeyHeader { namespace, key } = KvKeyHeader::decode(&command.ext)?;
        let value = self.kv.get(namespace, key).ok_or_else(|| {
            Refusal::Code(QUERY_NOT_FOUND, format!("No config item, Namespace: {namespace} Key: {key}"))
        })?;
        asker.ok_with(
            |writer| {
                writer.ext("value", &value);
            },
            &[],
        );
        Ok(Flow::Continue)
    }

    pub(super) fn delete_kv(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let header = KvKeyHeader::decode(&command.ext)?;
        Ok(when_durable(asker, self.kv.delete(header.namespace, header.key)))
    }

    pub(super) fn get_kv_namespace(self: &Rc<Self>, asker: &Asker<E>, command: &Command<'_>) -> Handled {
        let KvNamespaceHeader { namespace } = KvNamespaceHeader::decode(&command.ext)?;
        let text = self.kv.table_text(namespace).ok_or_else(|| {
            Refusal::Code(QUERY_NOT_FOUND, format!("No config item, Namespace: {namespace}"))
        })?;
        asker.ok_body(&text);
        Ok(Flow::Continue)
    }
}

/// Holds the connection's later requests back, so that changes are answered in order.
fn when_durable<E: Env>(
    asker: &Asker<E>,
    durable: impl Future<Output = Result<(), KvError>> + 'static,
) -> Flow {
    let asker = asker.clone();
    Flow::Wait(Box::pin(async move {
        match durable.await {
            Ok(()) => asker.ok(),
            Err(error) => asker.refuse(&error.into()),
        }
    }))
}
