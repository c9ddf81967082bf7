//! Which runtime counts the holders of an object, and what follows from its death or the loss of the connection to it.

use crate::context::Internal;
use crate::id::{ObjectId, RuntimeId, TesseraId};
use crate::recount::Registration;
use crate::references::References;
use crate::wire::RulesMessage;

impl<H> References<H> {
    /// The runtime that is believed to count the holders of a tessera of this runtime's own; none once that is known.
    pub(crate) fn unresolved_authority(&self, tessera: TesseraId) -> Option<RuntimeId> {
        let holding = self.table.holdings.get(&ObjectId::Tessera(tessera))?;
        (holding.registration == Registration::Unresolved).then_some(holding.authority)
    }

    /// `REF-6`: the caller knows which runtime counts the holders of a tessera of this runtime's own.
    pub(crate) fn resolve(
        &mut self,
        tessera: TesseraId,
        authority: RuntimeId,
        registration: Registration,
    ) {
        let object = ObjectId::Tessera(tessera);
        if let Some(holding) = self.table.holdings.get_mut(&object) {
            holding.authority = authority;
        }
        match registration {
            Registration::Counted => self.holder_registered(object),
            Registration::Unplaced => self.unplaced(tessera),
            Registration::Unresolved | Registration::Asked | Registration::Astray => {
                self.ask(object, authority);
            }
        }
    }

    fn ask(&mut self, object: ObjectId, authority: RuntimeId) {
        if let Some(holding) = self.table.holdings.get_mut(&object) {
            holding.authority = authority;
            holding.registration = Registration::Asked;
            self.request_registration(object, authority);
        }
    }

    /// No runtime counts the holders of a tessera of this runtime's own, until one builds it.
    pub(crate) fn unplaced(&mut self, tessera: TesseraId) {
        let object = ObjectId::Tessera(tessera);
        self.holder_registered(object);
        if let Some(holding) = self.table.holdings.get_mut(&object) {
            holding.authority = self.context.me();
            holding.registration = Registration::Unplaced;
        }
    }

    /// The construction of a tessera goes to that host, which counts the runtime that the construction comes from.
    pub(crate) fn placed(&mut self, tessera: TesseraId, host: RuntimeId) {
        if let Some(holding) = self.table.holdings.get_mut(&ObjectId::Tessera(tessera)) {
            holding.authority = host;
            holding.registration = Registration::Counted;
        }
    }

    /// A tessera that is held here lives with that host: register there.
    pub(crate) fn register_with(&mut self, tessera: TesseraId, host: RuntimeId) {
        let object = ObjectId::Tessera(tessera);
        let me = self.context.me();
        let Some(holding) = self.table.holdings.get_mut(&object) else {
            return;
        };
        if holding.authority == host {
            return;
        }
        holding.authority = host;
        if host == me {
            return self.holder_registered(object);
        }
        self.ask(object, host);
    }

    /// The runtime that counted the holders of these objects died. A tessera may be built again elsewhere, and who waits
    /// for the registration of this runtime waits for that; of the rest no runtime counts anything.
    /// `has_route` tells of a tessera of this runtime's own whether the caller has seen to it.
    pub(crate) fn authority_died(
        &mut self,
        dead: RuntimeId,
        has_route: impl Fn(TesseraId) -> bool,
    ) {
        let me = self.context.me();
        for object in self.table.counted_by(dead) {
            match object {
                ObjectId::Tessera(tessera) if tessera.owner == me => {
                    if !has_route(tessera) && self.unresolved_authority(tessera).is_none() {
                        self.authority_lost(object);
                    }
                }
                ObjectId::Tessera(tessera) if !self.context.is_dead(tessera.owner) => {
                    self.table.moves(object, dead);
                    let host = dead;
                    self.context.later(Internal::HostDied { tessera, host });
                }
                _ => self.authority_lost(object),
            }
        }
    }

    /// No other runtime counts the holders of an object from now on.
    pub(crate) fn authority_lost(&mut self, object: ObjectId) {
        let me = self.context.me();
        let Some(holding) = self.table.holdings.get_mut(&object) else {
            return;
        };
        holding.authority = me;
        if holding.registration == Registration::Counted {
            self.object_unused(object);
        } else {
            self.holder_registered(object);
        }
    }

    /// The connection to a peer was lost, and with it messages that contained references.
    pub(crate) fn link_lost(&mut self, peer: RuntimeId) {
        self.table.link_lost(peer);
    }

    /// `LINK-2`: ask a peer again for the registrations that it has not confirmed.
    pub(crate) fn register_again(&mut self, peer: RuntimeId) {
        for object in self.table.counted_by(peer) {
            let holding = self.table.holdings.get(&object);
            if holding.is_some_and(|holding| holding.registration == Registration::Asked) {
                self.context
                    .send(peer, RulesMessage::RegisterHolder(object));
            }
        }
    }

    /// The objects for which a peer counts this runtime, or was asked to.
    pub(crate) fn counted_by(&self, peer: RuntimeId) -> Vec<ObjectId> {
        self.table.counted_by(peer)
    }

    /// The references that came from a peer and are not registered yet, and in how many messages they came.
    pub(crate) fn awaited_from(&self, peer: RuntimeId) -> Vec<(ObjectId, u32)> {
        self.table.awaited_from(peer)
    }
}
