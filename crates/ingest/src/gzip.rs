//! Inflates a gzipped body as a stream that stops at its bound, however much a bomb would make.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use crate::body::Hold;

/// Room is reserved in steps of this many bytes.
const STEP_BYTES: usize = 64 * 1024;
/// Room that is reserved at most beyond the bytes that come out: the last step may be filled by one
/// byte, and a further one finds that there is no more.
pub const INFLATE_EXTRA_BYTES: usize = 2 * STEP_BYTES;

/// Why a body was not inflated.
pub enum NotInflated {
    /// It makes more than the bound; these are its first bytes.
    TooLarge { first: Vec<u8> },
    /// It is no gzip, or cut.
    Corrupt(std::io::Error),
    /// The bodies in memory leave no room.
    Overloaded,
}

/// Does the body begin like gzip (RFC 1952)? Some clients compress and do not say so.
pub fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(&[0x1f, 0x8b])
}

/// Inflates all members of `body` to at most `bytes_max`, reserving room in `hold` on the way.
pub fn inflate(body: &[u8], bytes_max: usize, hold: &mut Hold) -> Result<Vec<u8>, NotInflated> {
    let mut decoder = MultiGzDecoder::new(body);
    let mut inflated = Vec::new();
    loop {
        hold.grow(STEP_BYTES).map_err(|_| NotInflated::Overloaded)?;
        let step = (&mut decoder).take(STEP_BYTES as u64).read_to_end(&mut inflated);
        match step {
            Err(error) => return Err(NotInflated::Corrupt(error)),
            Ok(0) => return Ok(inflated),
            Ok(_) if inflated.len() > bytes_max => {
                return Err(NotInflated::TooLarge { first: inflated });
            }
            Ok(_) => {}
        }
    }
}
