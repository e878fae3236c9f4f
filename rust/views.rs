//! Views: the sockets of one pool's open connections, by the connection's id.
//!
//! For those who ask a connection of the pool for its socket, whoever holds it at the moment. Nothing here
//! keeps a connection open or takes part in its life.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::connect::SocketView;
use crate::ledger::{Entry, Item};

/// The register of one pool.
#[derive(Debug, Default)]
pub struct Views {
    sockets: Mutex<HashMap<u64, SocketView>>,
}

impl Views {
    /// The socket of a connection; `None` for one that is closed or still connecting.
    pub fn find(&self, id: u64) -> Option<SocketView> {
        self.sockets.lock().get(&id).cloned()
    }

    /// Enters an open connection. The entry lasts as long as the returned value.
    pub fn enter(self: &Arc<Self>, id: u64, view: SocketView) -> Registered {
        self.sockets.lock().insert(id, view.clone());
        Registered {
            views: Arc::clone(self),
            id,
            view,
            _entry: Entry::new(Item::Connection),
        }
    }
}

/// A connection's entry.
///
/// # Drop
///
/// Strikes the entry out.
#[derive(Debug)]
pub struct Registered {
    views: Arc<Views>,
    id: u64,
    view: SocketView,
    _entry: Entry,
}

impl Registered {
    /// The connection's socket.
    pub fn view(&self) -> &SocketView {
        &self.view
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let entry = self.views.sockets.lock().remove(&self.id);
        drop(entry);
    }
}
