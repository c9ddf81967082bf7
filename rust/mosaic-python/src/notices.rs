//! What the engine has to tell the program outside of any call, as Python objects: one class a kind of notice.

use mosaic_runtime::notice;
use pyo3::prelude::*;

/// See `Notice` in `_core.pyi`.
#[pyclass(frozen, module = "mosaic._core")]
pub(crate) enum Notice {
    Output {
        uid: String,
        error: bool,
        origin: Option<u32>,
        text: String,
    },
    Log {
        uid: String,
        level: String,
        text: String,
    },
    Joined {
        uid: String,
    },
    Died {
        uid: String,
        cause: String,
    },
    Exhausted {
        reason: String,
    },
    Choose {
        tessera: (u32, u64),
    },
    Ended {
        token: u64,
    },
    Drained {
        token: u64,
    },
}

impl From<notice::Notice> for Notice {
    fn from(notice: notice::Notice) -> Self {
        match notice {
            notice::Notice::Output {
                uid,
                error,
                origin,
                line,
            } => Self::Output {
                uid,
                error,
                origin,
                text: String::from_utf8_lossy(&line).into_owned(),
            },
            notice::Notice::Log { uid, level, text } => Self::Log { uid, level, text },
            notice::Notice::Joined(uid) => Self::Joined { uid },
            notice::Notice::Died { uid, cause } => Self::Died { uid, cause },
            notice::Notice::Exhausted(reason) => Self::Exhausted { reason },
            notice::Notice::Choose(tessera) => Self::Choose {
                tessera: (tessera.owner.0, tessera.sequence),
            },
            notice::Notice::Ended(token) => Self::Ended { token },
            notice::Notice::Drained(token) => Self::Drained { token },
        }
    }
}
