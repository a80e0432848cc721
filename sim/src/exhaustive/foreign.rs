//! Somebody else who has the lock at first.

use whereabouts_store::keys::Key;
use whereabouts_store::record::{self, Lock};
use whereabouts_store::{Txn, Write};

use super::moment::Moment;
use super::setting::Setting;

impl Moment {
    /// The foreigner gives up the lock as a holder does.
    pub(super) fn withdraw_foreign(&mut self, setting: &Setting) {
        self.foreign = false;
        let lock = setting.keys.encode(&Key::Lock(setting.queue.clone()));
        let (from, until) = setting.keys.tickets(&setting.queue);
        let waiting = self
            .state
            .entries()
            .filter(|entry| entry.key >= from && entry.key < until);
        let writes = match waiting.min_by_key(|entry| entry.created) {
            Some(next) => {
                let Ok(Key::Ticket(seat)) = setting.keys.decode(&next.key) else {
                    unreachable!("nothing else is among the tickets");
                };
                let (id, ticket) =
                    record::decode_ticket(&seat, &next.value).expect("it was written");
                let named = Lock {
                    sender: ticket.sender(),
                    attachment: id.attachment,
                    verb: id.verb,
                };
                let offered = Write::Put {
                    key: lock,
                    value: record::encode_lock(&named),
                    lease: 0,
                };
                vec![offered, Write::Touch(next.key.clone())]
            }
            None => vec![Write::Delete(lock)],
        };
        let txn = Txn {
            writes,
            ..Txn::default()
        };
        self.state.commit(&txn).expect("it is well formed");
    }
}
