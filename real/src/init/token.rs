//! What carries the file and the secret to another machine: one word that can be pasted, with a
//! checksum, for a paste may lose its end. Whoever has it has the secret.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// How a token begins.
pub const MARK: &str = "onehold1.";
/// How it ends.
const END: char = '.';
/// Bytes of the checksum.
const SUM: usize = 6;
/// No token is longer.
const MOST: usize = 64 * 1024;

/// What is carried. Its `Debug` form hides the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The file.
    pub config: String,
    /// The secret, as it is in its file.
    pub secret: String,
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        f.debug_struct("Carried")
            .field("config", config)
            .finish_non_exhaustive()
    }
}

impl Carried {
    /// As one word.
    ///
    /// # Errors
    /// If it is too long for one.
    pub fn token(&self) -> Result<String, String> {
        let mut bytes = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        bytes.extend(checksum(&bytes));
        let token = format!("{MARK}{}{END}", BASE64URL_NOPAD.encode(&bytes));
        match token.len() <= MOST {
            true => Ok(token),
            false => Err(format!(
                "the file is too long for a token of {MOST} letters: copy it"
            )),
        }
    }

    /// Reads a token; white space in it is a paste's.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn from_token(text: &str) -> Result<Self, String> {
        let token: String = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .take(MOST + 1)
            .collect();
        if token.len() > MOST {
            return Err(format!(
                "this is not a token: it has more than {MOST} letters"
            ));
        }
        let Some(rest) = token.strip_prefix(MARK) else {
            return Err(format!(
                "this is not a token: a token begins with `{MARK}`; paste the whole word that `onehold init` printed"
            ));
        };
        let Some(word) = rest.strip_suffix(END) else {
            return Err(format!(
                "the end of the token is missing: it ends with `{END}`, and this has {} letters; paste all of it, or \
                 let `onehold init --file FILE` write it to a file, and copy that",
                token.len()
            ));
        };
        let damaged = || {
            "the token is damaged: its checksum does not fit; paste it again, or let `onehold init --file FILE` write \
             it to a file, and copy that"
                .to_owned()
        };
        let bytes = BASE64URL_NOPAD
            .decode(word.as_bytes())
            .map_err(|_| damaged())?;
        let (bytes, sum) = bytes.split_last_chunk::<SUM>().ok_or_else(damaged)?;
        if checksum(bytes) != *sum {
            return Err(damaged());
        }
        serde_json::from_slice(bytes).map_err(|e| {
            format!("not a token that this version of onehold knows ({e}); install the same version on every machine")
        })
    }
}

fn checksum(bytes: &[u8]) -> [u8; SUM] {
    let digest = Sha256::digest(bytes);
    let mut sum = [0; SUM];
    sum.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    sum
}
