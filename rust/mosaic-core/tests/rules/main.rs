//! The rules, one readable test each, named after the number that it bears in its module's header.

mod deaths;
mod delivery;
mod links;
mod losses;
mod net;
mod references;
mod routes;
mod scale;
mod tasks;
mod tesserae;
mod unreachable;
mod values;
mod warehouse;
